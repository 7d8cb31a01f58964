"""The moving dots with one factor of variation changed, in the units of a model's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from weft.families.jepa.sets.dots import DotsSource

SHIFTS: Mapping[str, tuple[float, float]] = {
    "size": (0.7, 1.5),
    "brightness": (0.5, 2.0),
    "speed": (0.5, 1.5),
}
"""Factor of variation -> the numbers by which it is multiplied."""


def shifted(source: DotsSource, factor: str, by: float) -> DotsSource:
    """The same episodes with the dots' size, brightness or speed multiplied.

    Walls and units do not change. A dot of another size keeps the brightness of its centre; a dot
    of another brightness keeps its background; a faster dot takes longer steps than in training.

    Args:
        source: the source of training.
        factor: one of `SHIFTS`.
        by: the number by which it is multiplied.
    """
    scene = source.scene
    if factor == "speed":
        return replace(source, motion=replace(source.motion, max_step=source.motion.max_step * by))
    if factor == "brightness":
        return replace(source, scene=replace(scene, brightness=by))
    # The peak of a dot, which is also the unit of its background, falls with its area.
    return replace(
        source,
        scene=replace(
            scene,
            std=scene.std * by,
            brightness=by**2,
            fixed_noise=scene.fixed_noise * by**2,
            changing_noise=scene.changing_noise * by**2,
        ),
    )
