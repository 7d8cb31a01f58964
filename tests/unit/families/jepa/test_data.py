"""What a config says of the dots is what the sources show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from weft.data.random import stream
from weft.errors import DataError
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec, load_splits, probe_source
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.sets.scene import Scene


def config(**values: Any) -> Config:
    small = {"epochs": 1, "batch_size": 4, "dataset_size": 18, "val_dataset_size": 7,
             "norm_batches": 2, "n_steps": 5, "val_n_steps": 6,
             "probe": {"size": 9, "batch_size": 5}}  # fmt: skip
    return Config.model_validate(small | values)


def sources(config: Config) -> tuple[DotsSource, DotsSource, DotsSource]:
    splits = load_splits(config)
    found = splits.train, splits.val, splits.test
    assert all(isinstance(source, DotsSource) for source in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"dataset_type": "Multiple"},
        {"dataset_type": "Multiple", "model": {"channels": 3}},
        {"model": {"rnn_burnin": 3}},
    ],
)
def test_the_spec_tells_the_shapes_of_batches(values: dict[str, Any]) -> None:
    options = config(**values)
    spec, (train, val, test) = data_spec(options), sources(options)
    plan = train.plan(0, 0)
    assert len(plan) == spec.batches_per_epoch == 4
    assert [len(source) for source in (train, val, test)] == list(spec.sizes.values())
    batch = train.take(plan[0], stream(0, 0, "data"))
    assert batch.keys() == spec.fields.keys()
    for name, field in spec.fields.items():
        assert batch[name].shape == (*spec.batch_shape, *field.shape), name
    held_out = next(val.batches(7))
    assert held_out["image"].shape == (7, options.val_num_frames, *spec.fields["image"].shape[1:])


def test_the_published_keys_reach_the_scene() -> None:
    options = config(
        dataset_noise=0.5, dataset_static_noise=1.5, dataset_static_noise_speed=0.3,
        dataset_dot_std=1.1, noise_scale="batch", dataset_type="Multiple",
    )  # fmt: skip
    scene = sources(options)[0].scene
    assert scene == Scene(
        walks=scene.walks, num_frames=5, std=1.1, fixed_noise=1.5, changing_noise=0.5, speed=0.3,
        unit="batch", merge=True,
    )  # fmt: skip
    assert [walk.max_step for walk in scene.walks] == [4.0, 4.0, 0.0]


def test_held_out_episodes_are_the_same_for_every_seed_and_batch_size() -> None:
    first = sources(config(seed=1))
    second = sources(config(seed=2, batch_size=6))
    for a, b in zip(first[1:], second[1:], strict=True):
        assert torch.equal(next(a.batches(7))["image"], next(b.batches(7))["image"])
    scales = [found[0].norm.image_scale for found in (first, second)]
    assert not torch.equal(*scales), "training units are measured on the run's own stream"


def test_validation_test_and_probe_share_units_but_no_episode() -> None:
    options = config()
    _, val, test = sources(options)
    probe = probe_source(options, test)
    assert probe.norm is val.norm is test.norm
    assert (len(probe), [len(batch) for batch in probe.plan(0, 0)]) == (9, [5])
    batches = [next(source.batches(7))["location"] for source in (val, test, probe)]
    starts = torch.cat([batch[:, 0, 0] for batch in batches])
    assert len(starts.unique(dim=0)) == 21


def test_a_held_out_set_may_be_smaller_than_a_batch_of_the_probe() -> None:
    options = config(val_dataset_size=2, probe={"size": 3, "batch_size": 64})
    _, val, _ = sources(options)
    assert len(next(val.batches(64))["image"]) == 2
    assert [len(batch) for batch in probe_source(options, val).plan(0, 0)] == [3]


def test_without_normalisation_values_are_brightness_and_pixels() -> None:
    train, val, _ = sources(config(dataset_normalize=False))
    for source in (train, val):
        assert source.norm.location_scale == 1.0
        assert next(source.batches(7))["image"].max() < 0.0942


def test_dark_pictures_are_not_even_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEFT_DATA", raising=False)
    dark = config(dataset_structured_noise=True, data={"root": "/nowhere", "download": False})
    data_spec(dark)
    assert all(source.backgrounds is None for source in sources(dark))


def test_missing_pictures_are_reported_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("WEFT_DATA", raising=False)
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path))
    data = {"root": str(tmp_path), "download": False}
    options = config(noise="fixed_structured", data=data)
    with pytest.raises(DataError, match="cifar10"):
        data_spec(options)


@pytest.mark.parametrize(("objective", "split"), [("vicreg", "train"), ("supervised", "test")])
def test_training_dots_lie_on_training_pictures_and_held_out_ones_on_test_pictures(
    objective: str, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = torch.Generator().manual_seed(0)
    kept = {
        part: torch.randint(256, (20, 28, 28), generator=draws).to(torch.uint8)
        for part in ("train", "test")
    }

    def brought(part: str, *, name: str, root: str, download: bool) -> Tensor:
        assert (name, root, download) == ("cifar10", "/mine", False)
        return kept[part]

    # CIFAR-10's own, which `test_backgrounds` reads, take six seconds to unpack.
    monkeypatch.setattr("weft.families.jepa.data.load_backgrounds", brought)
    data = {"root": "/mine", "download": False}
    options = config(
        noise="fixed_structured", objective=objective, supervised={"backgrounds": split}, data=data
    )
    train, val, test = sources(options)
    assert train.backgrounds is kept[split]
    assert val.backgrounds is test.backgrounds is kept["test"]
    shown = next(replace(val, seed=3).batches(7))
    assert shown["image"].std() == pytest.approx(1, abs=0.5)
