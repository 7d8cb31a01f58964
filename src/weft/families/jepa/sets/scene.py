"""The content of an episode of moving dots, and the units of its batches."""

# T frames, K dots, C channels (K, or 1 where dots are summed), S pixels along a side

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from weft.families.jepa.sets.motion import Walk

ONE_DOT = (Walk(),)
THREE_DOTS = (Walk(), Walk(), Walk(max_step=0.0, concentration=math.inf))

# The original divides actions by this share of the longest step, which is a uniform dot's
# deviation along one axis, sqrt(1/6) = 0.4082, to two digits; epsilon guards a dot that stays.
_ACTION_SHARE = 0.4102
_EPSILON = 1e-7


@dataclass(frozen=True)
class Scene:
    """The content of an episode.

    A frame of a dot is clean + unit * (fixed_noise * N_fixed + changing_noise * N_changing), with
    N in [0, 1]: pictures if the source has some, else uniform noise.

    Attributes:
        walks: the motion of each of the K dots; the model gets the actions of the first.
        num_frames: T.
        size: S.
        std: standard deviation of a dot in pixels.
        fixed_noise: brightness of a background that stays for the whole episode.
        changing_noise: brightness of a background drawn anew for each frame.
        speed: pixels per frame by which the fixed background rolls to the right.
        unit: of brightness: "constant" is a dot's peak; "batch" is the brightest pixel of that dot
            in the clean batch (as published, which couples the episodes of a batch).
        merge: whether the dots share one channel, as a sum; else each has its own.
        door: width in pixels of the door in a wall between two rooms, which is as bright as a dot;
            0 if there is no wall.
        brightness: factor of the dots' brightness; backgrounds and wall do not change.
    """

    walks: tuple[Walk, ...] = ONE_DOT
    num_frames: int = 17
    size: int = 28
    std: float = 1.3
    fixed_noise: float = 0.0
    changing_noise: float = 0.0
    speed: float = 0.0
    unit: Literal["constant", "batch"] = "constant"
    merge: bool = False
    door: float = 0.0
    brightness: float = 1.0

    @property
    def num_dots(self) -> int:
        """K."""
        return len(self.walks)

    @property
    def channels(self) -> int:
        """C."""
        return 1 if self.merge else self.num_dots

    @property
    def low(self) -> float:
        """Lowest coordinate of a dot's centre in pixels: two deviations from the border."""
        return 2 * self.std

    @property
    def high(self) -> float:
        """Highest coordinate of a dot's centre in pixels."""
        return self.size - 1 - 2 * self.std

    @property
    def fixed_backgrounds(self) -> int:
        """Number of fixed backgrounds in an episode: one per dot, or 0 if none is shown."""
        return self.num_dots if self.fixed_noise > 0 else 0

    @property
    def changing_backgrounds(self) -> int:
        """Number of changing backgrounds in an episode: one per dot and frame, or 0."""
        return self.num_dots * self.num_frames if self.changing_noise > 0 else 0


@dataclass(frozen=True)
class Norm:
    """The units of a batch: value = (raw - centre) / scale.

    Attributes:
        image_centre, image_scale: brightness, one per dot, (K,).
        location_centre, location_scale: pixels. A squared error of normalised locations times
            location_scale^2 is in pixels^2.
        action_scale: pixels; actions have no centre.
    """

    image_centre: Tensor
    image_scale: Tensor
    location_centre: float = 0.0
    location_scale: float = 1.0
    action_scale: float = 1.0

    @staticmethod
    def raw(num_dots: int) -> Norm:
        """Units that leave brightness and pixels as they are."""
        nothing = torch.zeros(num_dots, dtype=torch.float32, device="cpu")
        return Norm(nothing, nothing + 1)

    @staticmethod
    def unit_variance(scene: Scene, image_mean: Tensor, image_std: Tensor) -> Norm:
        """Units in which pixels, and the location of a uniform dot, have mean 0 and variance 1.

        Args:
            scene: gives the walls and dot 1's longest step.
            image_mean, image_std: of the pixels of each dot's frames, (K,).
        """
        return Norm(
            image_mean,
            image_std,
            (scene.low + scene.high) / 2,
            (scene.high - scene.low) / math.sqrt(12),
            _ACTION_SHARE * scene.walks[0].max_step + _EPSILON,
        )

    def location(self, pixels: Tensor) -> Tensor:
        """Positions in pixels as normalised locations."""
        return (pixels - self.location_centre) / self.location_scale

    def pixels(self, location: Tensor) -> Tensor:
        """Normalised locations as positions in pixels."""
        return location * self.location_scale + self.location_centre

    def to(self, device: torch.device) -> Norm:
        """The same units on `device`."""
        return replace(
            self,
            image_centre=self.image_centre.to(device),
            image_scale=self.image_scale.to(device),
        )
