"""The moving dots: episodes generated on the device, as a source of batches and an iterable."""

# B batch, T frames, K dots, C channels, S pixels along a side, N pictures, n backgrounds

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from typing import get_args

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from weft.data.random import derive, stream
from weft.data.source import Batch
from weft.errors import ConfigError
from weft.families.jepa.config import Noise
from weft.families.jepa.sets import render, rooms
from weft.families.jepa.sets.backgrounds import load_backgrounds
from weft.families.jepa.sets.motion import Motion
from weft.families.jepa.sets.scene import Norm, Scene

_DEFAULT = Scene()
# `batches` draws blocks of this many episodes, so that they do not depend on the batch size.
_BLOCK = 64


@dataclass(frozen=True)
class DotsSource:
    """Episodes generated on demand: a batch is a pure function of its indices and generator.

    Args:
        scene: the content of an episode.
        motion: the scene's walks as tensors.
        norm: the units of the batches.
        backgrounds: grey pictures, uint8 (N, S, S), or None for uniform noise.
        batch_size: episodes in a training batch.
        size: episodes in an epoch, and in the fixed stream of `batches`.
        seed: of the fixed stream.
    """

    scene: Scene
    motion: Motion
    norm: Norm
    backgrounds: Tensor | None
    batch_size: int
    size: int
    seed: int

    @staticmethod
    def of(
        scene: Scene = _DEFAULT,
        backgrounds: Tensor | None = None,
        *,
        batch_size: int = 64,
        size: int = 10000,
        seed: int = 0,
        norm_batches: int = 100,
    ) -> DotsSource:
        """A source whose pixels and locations have unit variance.

        Args:
            scene, backgrounds, batch_size, size, seed: as in the class.
            norm_batches: number of batches over which mean and deviation of the pixels are
                averaged; 0 keeps raw units, brightness and pixels.
        Raises:
            ConfigError: if an epoch has no whole batch, or pictures do not have the scene's size.
        """
        if batch_size < 1:
            raise ConfigError(f"a batch of {batch_size} episodes", expected="one or more")
        if batch_size > size:
            raise ConfigError(f"a batch of {batch_size} is more than the {size} episodes there are")
        if backgrounds is not None and backgrounds.shape[1:] != (scene.size, scene.size):
            raise ConfigError(
                f"backgrounds have the shape {tuple(backgrounds.shape)}",
                expected=f"(N, {scene.size}, {scene.size}), as large as a frame",
            )
        motion = Motion.of(scene.walks, scene.low, scene.high, scene.door)
        norm = Norm.raw(scene.num_dots)
        source = DotsSource(scene, motion, norm, backgrounds, batch_size, size, seed)
        return replace(source, norm=_measure(source, norm_batches)) if norm_batches else source

    @property
    def device(self) -> torch.device:
        """The device on which batches are generated."""
        return self.norm.image_centre.device

    def __len__(self) -> int:
        return self.size

    def plan(self, seed: int, epoch: int) -> Sequence[Tensor]:
        """The epoch's batches, int64 (B, n) each: the numbers of every episode's backgrounds.

        All epochs take their numbers from one endless sequence of permutations, so that no picture
        is repeated before all have been shown. Without pictures, an index is the episode's number.
        """
        used = self.size // self.batch_size * self.batch_size
        return torch.split(self._deal(seed, epoch * used, used), self.batch_size)

    def _deal(self, seed: int, first: int, amount: int) -> Tensor:
        """Background numbers (amount, n) of the episodes from `first` on, counted across epochs."""
        each = self.scene.fixed_backgrounds + self.scene.changing_backgrounds
        if self.backgrounds is None or each == 0:
            return torch.arange(first, first + amount, device="cpu")[:, None]
        size = len(self.backgrounds)
        start, stop = first * each, (first + amount) * each
        shuffles = [
            torch.randperm(
                size,
                generator=torch.Generator().manual_seed(derive(seed, number, "backgrounds")),
                device="cpu",
            )
            for number in range(start // size, (stop - 1) // size + 1)
        ]
        return torch.cat(shuffles)[start % size :][: stop - start].view(amount, each)

    def take(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """New episodes with the backgrounds of the numbers `indices` (B, n).

        Returns: `image` (B, T, C, S, S); `action` (B, T - 1, 2), those of dot 1; `location`
            (B, T, K, 2); positions and actions as (x, y), all float32 in the units of `norm`.
        """
        batch = self.episodes(indices, generator)
        return {**batch, "action": batch["action"][:, :, 0]}

    def episodes(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """The batch of `take` with the actions of all dots, (B, T - 1, K, 2)."""
        stage = self.stage(indices, generator)
        return {
            "image": stage.frames(stage.positions, stage.ground),
            "action": stage.actions / self.norm.action_scale,
            "location": self.norm.location(stage.positions),
        }

    def stage(self, indices: Tensor, generator: torch.Generator) -> Stage:
        """Episodes before rendering: positions of dots on their own walks, and backgrounds."""
        scene, count = self.scene, len(indices)
        draws = self._uniform(
            (count, scene.num_dots, self.motion.num_draws(scene.num_frames)), generator
        )
        door = None
        if scene.door > 0:
            door = self.motion.doors(self._uniform((count,), generator))
        positions, actions = self.motion(draws, door)
        unit: float | Tensor = render.peak(scene.std)
        if scene.unit == "batch":
            profile = render.profiles(positions, scene.size, scene.std)
            unit = render.brightest(profile).view(-1, 1, 1)
        # The units of the batch are applied to small tensors, so that pixels are written once.
        scale = self.norm.image_scale.view(-1, 1, 1)
        ground = -self.norm.image_centre.view(-1, 1, 1) / scale
        if door is not None:
            wall = rooms.picture(door, scene.size, self.motion.middle, scene.door / 2)
            ground = ground + wall[:, None, None] * (render.peak(scene.std) / scale)
        fixed, changing = indices.tensor_split([scene.fixed_backgrounds], dim=1)
        if scene.fixed_noise > 0:
            noise = self._noise(fixed, 1, generator)
            ground = noise.mul_(scene.fixed_noise * unit / scale).add_(ground)
            if scene.speed > 0:
                ground = render.roll(ground, scene.num_frames, scene.speed)
        if scene.changing_noise > 0:
            noise = self._noise(changing, scene.num_frames, generator)
            ground = noise.mul_(scene.changing_noise * unit / scale).add_(ground)
        return Stage(self, positions, actions, ground, door)

    def _noise(self, numbers: Tensor, num_frames: int, generator: torch.Generator) -> Tensor:
        """Backgrounds in [0, 1], (B, num_frames, K, S, S): pictures by number, or uniform noise."""
        scene = self.scene
        shape = (len(numbers), num_frames, scene.num_dots, scene.size, scene.size)
        if self.backgrounds is None:
            return self._uniform(shape, generator)
        chosen = self.backgrounds.index_select(0, numbers.flatten().to(self.device))
        return chosen.view(shape).float().div_(255)

    def _uniform(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Uniform numbers in [0, 1), drawn on the generator's device."""
        draws = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)
        return draws.to(self.device)

    def batches(self, size: int) -> Iterator[Batch]:
        """A fixed stream of `len(self)` episodes, `size` at a time, the same on every device."""
        numbers = self._deal(self.seed, 0, self.size)
        blocks = (
            self.take(indices, stream(self.seed, block, "episodes"))
            for block, indices in enumerate(numbers.split(_BLOCK))
        )
        return _regroup(blocks, size)

    def to(self, device: torch.device) -> DotsSource:
        """The same source with its tensors on `device`."""
        return replace(
            self,
            motion=self.motion.to(device),
            norm=self.norm.to(device),
            backgrounds=None if self.backgrounds is None else self.backgrounds.to(device),
        )


@dataclass(frozen=True)
class Stage:
    """Episodes of a source before rendering, in which a caller can move dots.

    Attributes:
        source: gives scene and units.
        positions, actions: of the dots' own walks in pixels, (B, T, K, 2) and (B, T - 1, K, 2).
        ground: what dots are added to, in the units of the batch, broadcast to (B, T, K, S, S).
        door: y of the door's middle, (B,), if there are two rooms.
    """

    source: DotsSource
    positions: Tensor
    actions: Tensor
    ground: Tensor
    door: Tensor | None

    def frames(self, positions: Tensor, ground: Tensor) -> Tensor:
        """Frames (B, n, C, S, S) with dots at `positions` (B, n, K, 2) and a part of `ground`."""
        scene, norm = self.source.scene, self.source.norm
        profile = render.profiles(positions, scene.size, scene.std)
        profile[..., 1, :] /= (norm.image_scale / scene.brightness).view(-1, 1)
        paint = render.paint_sum if scene.merge else render.paint
        return paint(profile, ground)

    def frame(self, positions: Tensor, time: int) -> Tensor:
        """Frame t = `time`, (B, 1, C, S, S), with dots at `positions` (B, K, 2)."""
        ground = self.ground
        if ground.dim() == 5 and ground.shape[1] > 1:
            ground = ground[:, time : time + 1]
        return self.frames(positions[:, None], ground)

    def step(self, positions: Tensor, action: Tensor) -> Tensor:
        """Positions of dots at `positions` (B, K, 2) after `action` (B, K, 2), all in pixels."""
        return self.source.motion.step(positions, action, self.door)


class MovingDots(IterableDataset[Batch]):
    """Moving dots for any model: an endless iterable of new batches.

    Each batch has `image` (B, T, C, S, S), `action` (B, T - 1, K, 2) and `location` (B, T, K, 2),
    float32. Iterating again gives the same batches again. In a `DataLoader` every worker has its
    own stream: `DataLoader(dots, batch_size=None, num_workers=2)`.

    Args:
        scene: the content of an episode.
        backgrounds: grey pictures, uint8 (N, S, S), such as those of `load_backgrounds`, or None
            for uniform noise.
        noise: one of the paper's four kinds by name, such as `fixed_structured`, instead of the
            scene's noise and `backgrounds`. Structured noise is CIFAR-10's training pictures.
        level: brightness of the background of `noise`.
        batch_size: B; None for single episodes, without that dimension, for loaders that batch.
        seed: of the stream.
        device: where batches are generated; a loader's workers need the CPU.
        normalise: whether values have unit variance (by `source.norm`); else they are brightness
            and pixels.
    Raises:
        ConfigError: for an unknown kind of noise, or one together with `backgrounds`.
        DataError: if the pictures are missing.
    """

    def __init__(
        self,
        scene: Scene = _DEFAULT,
        backgrounds: Tensor | None = None,
        *,
        noise: str | None = None,
        level: float = 1.0,
        batch_size: int | None = 64,
        seed: int = 0,
        device: torch.device | str = "cpu",
        normalise: bool = True,
    ) -> None:
        if noise is not None:
            scene, backgrounds = _noisy(scene, backgrounds, noise, level)
        self.seed, self.single = seed, batch_size is None
        size = _BLOCK if batch_size is None else batch_size
        self.source = DotsSource.of(
            scene,
            backgrounds,
            batch_size=size,
            size=_BLOCK * size,
            seed=seed,
            norm_batches=100 if normalise else 0,
        ).to(torch.device(device))

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        seed = self.seed if worker is None else derive(self.seed, worker.id, "worker")
        batches = _endless(self.source, seed)
        return chain.from_iterable(map(_apart, batches)) if self.single else batches


def _noisy(
    scene: Scene, backgrounds: Tensor | None, noise: str, level: float
) -> tuple[Scene, Tensor | None]:
    """The scene with one of the paper's kinds of noise, and the pictures for it, if any."""
    if noise not in get_args(Noise) or backgrounds is not None:
        raise ConfigError(
            f"`noise` = {noise}" + ("" if backgrounds is None else " beside `backgrounds`"),
            expected=f"one of {', '.join(get_args(Noise))}, or backgrounds and the scene's noise",
        )
    place, _, kind = noise.partition("_")
    fixed, changing = (level, 0.0) if place == "fixed" else (0.0, level)
    pictures = load_backgrounds("train", size=scene.size) if kind == "structured" else None
    return replace(scene, fixed_noise=fixed, changing_noise=changing), pictures


def _apart(batch: Batch) -> Iterator[Batch]:
    """The episodes of a batch one by one."""
    return (dict(zip(batch, episode, strict=True)) for episode in zip(*batch.values(), strict=True))


def _endless(source: DotsSource, seed: int) -> Iterator[Batch]:
    """An endless stream of new batches, a pure function of `seed`."""
    plans = (indices for epoch in count() for indices in source.plan(seed, epoch))
    for step, indices in enumerate(plans):
        yield source.episodes(indices, stream(seed, step, "data", device=source.device))


def _measure(source: DotsSource, num_batches: int) -> Norm:
    """Units in which values have unit variance, from averages over batches of `source`."""
    apart = replace(source, scene=replace(source.scene, merge=False))
    seed = derive(source.seed, "normalisation")
    moments = [
        torch.stack(torch.std_mean(batch["image"], dim=(0, 1, 3, 4)))
        for batch in islice(_endless(apart, seed), num_batches)
    ]
    std, mean = torch.stack(moments).mean(0)
    return Norm.unit_variance(source.scene, mean, std)


def _regroup(blocks: Iterator[Batch], size: int) -> Iterator[Batch]:
    """The items of `blocks` in order, `size` at a time, the last batch shorter."""
    waiting: Batch = {}
    for block in blocks:
        waiting = {
            name: torch.cat([waiting[name], tensor]) if waiting else tensor
            for name, tensor in block.items()
        }
        while len(waiting["image"]) >= size:
            yield {name: tensor[:size] for name, tensor in waiting.items()}
            waiting = {name: tensor[size:] for name, tensor in waiting.items()}
    if waiting and len(waiting["image"]):
        yield waiting
