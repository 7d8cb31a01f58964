"""The rule of one layer's recurrence: its drive, bounds and order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from weft.families.warp.cell.ranges import check_count, check_name, check_size

Drive = Literal["diff", "innovation", "true_diff"]


@dataclass(frozen=True)
class Rule:
    """theta_t = clip(A theta_{t-1} + B [dx_t, dclock_t]), out_t = root(theta_t, z_t).

    A free run (M1), which a call without force is: dx_t = x_t - x_{t-1} with dx_0 = 0, and
    z_t = [tau_t, x_t if input_prev_data].

    Predictions fed back (M2; M3 with a sample): with the force f_t in [0, 1], which a call gives,
    xin_t = f_t x_t + (1 - f_t) xhat_t and z_t = [tau_t, xprev_t if input_prev_data]; then
    xhat_{t+1} = mean(out_t) (+ std(out_t) sample_t) and xprev_{t+1} = xhat_t, from
    xhat_0 = xprev_0 = x_0.

    Attributes:
        channels: d, data channels of the layer's input; clock channels follow them in the drive.
        drive: what dx_t is when predictions are fed back: `diff` xin_t - xprev_t, `innovation`
            xin_t - xhat_t, `true_diff` xin_t - xin_{t-1} with xin_{-1} = x_0.
        input_prev_data: whether the root's input includes data besides the clock.
        limit: c of clip(., -c, c) on theta; None does not clip. The gradient is that of
            torch.clamp: it passes if the value before clipping is at most c in magnitude, equality
            included. Equality is common: with A = I and B = 0 a clipped weight is exactly at its
            bound in the next step, and could never move again without a gradient there.
        halves: whether half of the gradient passes at the bound itself, the mean of both sides, as
            in the original.
        half: whether products with a full A are rounded to bfloat16 in the clipped form of a run
            that feeds predictions back; weights are not rounded.
        second_order: whether v_t = A v_{t-1} + B [dx_t, dclock_t] with v_{-1} = 0 moves theta, as
            theta_t = clip(theta_{t-1} + v_t); v itself is never clipped.
    Raises:
        ConfigError: if one of these is invalid.
    """

    channels: int
    drive: Drive = "diff"
    input_prev_data: bool = False
    limit: float | None = None
    second_order: bool = False
    halves: bool = False
    half: bool = False

    def __post_init__(self) -> None:
        check_count("input_size", self.channels)
        check_name("drive", self.drive, get_args(Drive))
        if self.limit is not None:
            check_size("limit", self.limit)
