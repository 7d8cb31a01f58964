"""What a model makes of a batch: codes, predicted codes, and what was read from them."""

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

    Frames of a burn-in are left out: frame 0 here is the last one whose code was given.

    Attributes:
        e: codes of the true frames, (T, B, D); of the first alone where no other is needed.
        h: codes predicted from the first one and the actions, (T, B, D); h[0] is e[0].
        z_e, z_h: e and h after the projector, (T, B, P).
        action_rollout: actions read from [h_t, e_(t+1)], (T - 1, B, 2).
        action_far: sums of F actions read from [h_t, e_(t+F)], (T - F, B, 2).
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
    action_far: Tensor | None = None
    action_codes: Tensor | None = None
    pixels: Tensor | None = None
    location: Tensor | None = None
    prior: Gaussian | None = None
    posterior: Gaussian | None = None

    @property
    def codes(self) -> dict[str, Tensor]:
        """The kinds of code of all frames by name: projections only where there is a projector."""
        if len(self.e) < len(self.h):
            return {"h": self.h}
        codes = {"e": self.e, "h": self.h}
        if self.z_e is not self.e:
            codes |= {"z_e": self.z_e, "z_h": self.z_h}
        return codes


def read_actions(
    head: nn.Module | None, before: Tensor, after: Tensor, span: int = 1
) -> Tensor | None:
    """What a head reads from [before_t, after_(t+span)], (T - span, B, 2); None without a head.

    Args:
        head: (…, 2 D) to (…, 2).
        before, after: codes, (T, B, D).
        span: frames between them.
    """
    if head is None:
        return None
    actions: Tensor = head(torch.cat((before[:-span], after[span:]), dim=-1))
    return widened(actions)
