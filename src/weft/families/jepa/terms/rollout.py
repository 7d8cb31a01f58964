"""A model's output for a batch: codes, predicted codes, and the outputs of heads."""

# T frames, B batch, D code, P projection, K dots, C channels, S pixels along a side

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weft.nn.precision import widened


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions.

    Attributes:
        mean, std: (T, B, D).
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Rollout:
    """Codes of a batch, time first; entries that the objective does not need are None.

    Frames of a burn-in are left out: frame 0 is the last one whose code the forward model is given.

    Attributes:
        e: codes of the true frames, (T, B, D), or only of the first if no other is needed.
        h: codes predicted from the first one and the actions, (T, B, D); h[0] is e[0].
        z_e, z_h: e and h after the projector, (T, B, P).
        action_rollout: actions read from [h_t, e_(t+1)], (T - 1, B, 2).
        action_codes: actions read from [e_t, e_(t+1)], (T - 1, B, 2).
        pixels: decoded frames, (T, B, C, S, S).
        location: positions read from h, (T, B, K, 2).
        prior, posterior: states of an RSSM before and after seeing the frame.
    """

    e: Tensor
    h: Tensor
    z_e: Tensor
    z_h: Tensor
    action_rollout: Tensor | None = None
    action_codes: Tensor | None = None
    pixels: Tensor | None = None
    location: Tensor | None = None
    prior: Gaussian | None = None
    posterior: Gaussian | None = None

    @property
    def codes(self) -> dict[str, Tensor]:
        """The kinds of codes by name; projections only if there is a projector."""
        if len(self.e) < len(self.h):
            return {"h": self.h}
        codes = {"e": self.e, "h": self.h}
        if self.z_e is not self.e:
            codes |= {"z_e": self.z_e, "z_h": self.z_h}
        return codes


def read_actions(head: nn.Module | None, before: Tensor, after: Tensor) -> Tensor | None:
    """Actions (T - 1, B, 2) read from [before_t, after_(t+1)], or None without a head.

    Args:
        head: (…, 2 D) to (…, 2).
        before, after: codes, (T, B, D).
    """
    if head is None:
        return None
    actions: Tensor = head(torch.cat((before[:-1], after[1:]), dim=-1))
    return widened(actions)
