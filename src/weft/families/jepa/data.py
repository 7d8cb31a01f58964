"""The run's moving dots: episodes for training, for evaluation, and for fitting probes."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from weft.data.images import image_header
from weft.data.random import derive
from weft.data.source import DataSpec, Field, Splits
from weft.families.jepa.config import Config
from weft.families.jepa.sets.backgrounds import load_backgrounds
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.sets.scene import ONE_DOT, THREE_DOTS, Scene

_PICTURES = "cifar10"


def scene_of(config: Config, num_frames: int) -> Scene:
    """The scene of the config, for episodes of `num_frames` frames."""
    return Scene(
        walks=ONE_DOT if config.dataset_type == "Single" else THREE_DOTS,
        num_frames=num_frames,
        std=config.dataset_dot_std,
        fixed_noise=config.dataset_static_noise,
        changing_noise=config.dataset_noise,
        speed=config.dataset_static_noise_speed,
        unit=config.noise_scale,
        merge=config.model.channels == 1,
        door=config.dataset_door if config.dataset_rooms == 2 else 0.0,
    )


def data_spec(config: Config) -> DataSpec:
    """Shapes and sizes of the run's data, from headers only.

    Raises:
        DataError: if the background pictures are missing and may not be downloaded.
    """
    if config.uses_backgrounds:
        image_header(_PICTURES, root=config.data.root, download=config.data.download)
    scene = scene_of(config, config.num_frames)
    held_out = config.val_dataset_size
    return DataSpec(
        fields={
            "image": Field((scene.num_frames, scene.channels, scene.size, scene.size)),
            "action": Field((scene.num_frames - 1, 2)),
            "location": Field((scene.num_frames, scene.num_dots, 2)),
        },
        batch_shape=(config.batch_size,),
        batches_per_epoch=config.dataset_size // config.batch_size,
        sizes={"train": config.dataset_size, "val": held_out, "test": held_out},
    )


def load_splits(config: Config) -> Splits[DotsSource]:
    """The run's sources; val and test are fixed sets of episodes, the same for every seed.

    Val and test share the normalisation measured on val, as they have the same background pictures.
    """
    train = DotsSource.of(
        scene_of(config, config.num_frames),
        _backgrounds(config, config.background_split),
        batch_size=config.batch_size,
        size=config.dataset_size,
        seed=derive(config.seed, "train"),
        norm_batches=_norm_batches(config),
    )
    val = DotsSource.of(
        scene_of(config, config.val_num_frames),
        _backgrounds(config, "test"),
        batch_size=min(config.probe_batch_size, config.val_dataset_size),
        size=config.val_dataset_size,
        seed=derive("val"),
        norm_batches=_norm_batches(config),
    )
    return Splits(train, val, replace(val, seed=derive("test")))


def probe_source(config: Config, scored: DotsSource) -> DotsSource:
    """Episodes for fitting a probe, distributed as those of `scored` and different from them."""
    size = config.probe.size
    return replace(
        scored, batch_size=min(config.probe_batch_size, size), size=size, seed=derive("probe")
    )


def _norm_batches(config: Config) -> int:
    return config.norm_batches if config.dataset_normalize else 0


def _backgrounds(config: Config, split: str) -> Tensor | None:
    """The background pictures; None if none are shown."""
    if not config.uses_backgrounds:
        return None
    return load_backgrounds(
        split, name=_PICTURES, root=config.data.root, download=config.data.download
    )
