"""The moving dots with one factor of variation changed, in the units a model was trained in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from weft.families.jepa.sets.dots import DotsSource

SHIFTS: Mapping[str, tuple[float, float]] = {
    "size": (0.7, 1.5),
    "brightness": (0.5, 2.0),
    "speed": (0.5, 1.5),
}
"""What is multiplied, and by how much."""


def shifted(source: DotsSource, factor: str, by: float) -> DotsSource:
    """The same episodes with the dots' size, brightness or speed multiplied.

    Walls and units stay. A dot of another size keeps the brightness of its middle, one of another
    brightness its background, and what is faster takes longer steps than the model ever saw.

    Args:
        source: as trained on.
        factor: one of `SHIFTS`.
        by: what it is multiplied by.
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
