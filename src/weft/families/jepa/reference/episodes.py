"""The original's way to generate a batch: a full coordinate grid, and all noise always drawn."""

# B batch, T frames, K dots, S pixels along a side

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.distributions import VonMises

from weft.data.source import Batch
from weft.families.jepa.sets.motion import Walk
from weft.families.jepa.sets.scene import Norm, Scene


def render(positions: Tensor, size: int, std: float) -> Tensor:
    """Gaussians of `std` pixels, pixel by pixel from the distance to the dot.

    Args:
        positions: (x, y) in pixels, shape (..., 2).
        size: S.
    Returns: exp(-|c - p|^2 / (2 std^2)) / (2 pi std^2) at each pixel c, shape (..., S, S).
    """
    axis = torch.arange(size, dtype=positions.dtype)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y], dim=-1).repeat(*positions.shape[:-1], 1, 1, 1)
    distance = (grid - positions[..., None, None, :]).norm(dim=-1)
    return torch.exp(-distance.pow(2) / (2 * std**2)) / (2 * math.pi * std**2)


def transition(start: Tensor, actions: Tensor, low: float, high: float) -> Tensor:
    """Positions (B, T, 2) from `start` (B, 2) on: p' = clamp(p + a), for actions (B, T - 1, 2)."""
    positions = [start]
    for t in range(actions.shape[1]):
        positions.append((positions[-1] + actions[:, t]).clamp(low, high))
    return torch.stack(positions, dim=1)


def walk(scene: Scene, dot: Walk, batch_size: int) -> tuple[Tensor, Tensor]:
    """One dot's positions (B, T, 2) and actions (B, T - 1, 2) in pixels, from the global generator.

    Angles are drawn by torch's rejection sampler of the von Mises distribution.
    """
    num_steps = scene.num_frames - 1
    direction = 2 * math.pi * torch.rand(batch_size)
    angle = direction.expand(num_steps, -1)
    if math.isfinite(dot.concentration):
        angle = VonMises(direction, torch.tensor(dot.concentration)).sample((num_steps,))
    length = dot.max_step * torch.rand(num_steps, batch_size)
    actions = (torch.stack([angle.cos(), angle.sin()], dim=-1) * length[..., None]).transpose(0, 1)
    start = scene.low + (scene.high - scene.low) * torch.rand(batch_size, 2)
    return transition(start, actions, scene.low, scene.high), actions


def distract(clean: Tensor, fixed: Tensor, changing: Tensor, scene: Scene) -> Tensor:
    """Frames (B, T, S, S) of one dot in front of backgrounds (B, S, S) and (B, T, S, S) in [0, 1].

    Brightness is in units of the brightest clean pixel of the batch.
    """
    frames = []
    for t in range(clean.shape[1]):
        staying = torch.roll(fixed, int(t * scene.speed), dims=-1)
        noise = scene.fixed_noise * staying + scene.changing_noise * changing[:, t]
        frames.append(clean[:, t] + clean.max() * noise)
    return torch.stack(frames, dim=1)


def pictures(images: Tensor, size: int) -> Iterator[Tensor]:
    """An endless stream of grey pictures (S, S) in [0, 1], shuffled in each pass, read by Pillow.

    Args:
        images: uint8 (N, 3, H, W).
        size: S.
    """
    while True:
        for index in torch.randperm(len(images)).tolist():
            image = Image.fromarray(images[index].permute(1, 2, 0).numpy())
            values = np.asarray(image.convert("L"), dtype=np.float32) / 255
            yield torch.from_numpy(values)[:size, :size]


def batch(scene: Scene, norm: Norm, batch_size: int, grey: Iterator[Tensor] | None) -> Batch:
    """A batch like that of `DotsSource.episodes`, from the global generator.

    Args:
        scene: of the episodes; its `unit` is taken as "batch".
        norm: the units of the batch.
        batch_size: B.
        grey: background pictures, or None for uniform noise.
    """
    shape = (batch_size, scene.num_frames, scene.size, scene.size)
    images, actions, locations = [], [], []
    for k, dot in enumerate(scene.walks):
        position, action = walk(scene, dot, batch_size)
        clean = render(position, scene.size, scene.std)
        fixed, changing = torch.rand(batch_size, *shape[2:]), torch.rand(shape)
        if grey is not None:
            fixed = torch.stack([next(grey) for _ in range(batch_size)])
            changing = torch.stack(
                [
                    torch.stack([next(grey) for _ in range(batch_size)])
                    for _ in range(scene.num_frames)
                ],
                dim=1,
            )
        frames = distract(clean, fixed, changing, scene)
        images.append((frames - norm.image_centre[k]) / norm.image_scale[k])
        actions.append(action / norm.action_scale)
        locations.append(norm.location(position))
    image = torch.stack(images, dim=2)
    return {
        "image": image.sum(2, keepdim=True) if scene.merge else image,
        "action": torch.stack(actions, dim=2),
        "location": torch.stack(locations, dim=2),
    }
