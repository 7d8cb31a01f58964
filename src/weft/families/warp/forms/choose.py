"""Selects the form of the recurrence: those that can compute a run, and the cheapest of them."""

# N batch, T steps, d data channels, D weights, o outputs

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from weft.errors import ConfigError
from weft.families.warp.cell.clock import Ticks
from weft.families.warp.cell.drive import first_data, free_drive, valid_steps
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.outputs import Head
from weft.families.warp.forms.autoregressive import Rolled, count_starts, rollout
from weft.families.warp.forms.cost import Machine, Problem
from weft.families.warp.forms.estimate import Estimate, estimates
from weft.families.warp.forms.history import Bound
from weft.families.warp.forms.lagged import by_history
from weft.families.warp.forms.last_state import by_chunks, by_lags
from weft.families.warp.forms.reading import read
from weft.families.warp.forms.scan import by_doubling, by_factors
from weft.families.warp.forms.states import Reader, step_by_step
from weft.families.warp.reference import Carry, Feedback

FORMS = ("last_state", "chunked", "history", "scan", "sequential")
"""All forms except the literal `loop`, which the model runs itself."""


def refusal(problem: Problem, form: str) -> str:
    """The reason why `form` cannot compute `problem`; empty if it can."""
    p = problem
    shared = p.shared or p.second_order
    reasons = {
        "last_state": {
            "needs the last step only": not p.last or p.feedback,
            "needs one theta_0 for all sequences": not shared,
        },
        "chunked": {"needs the last step only": not p.last or p.feedback},
        "history": {
            "reads all steps": p.last and not p.feedback,
            "needs one theta_0 for all sequences": not shared and not p.feedback,
            "needs sequences of equal length": p.ragged and p.feedback,
        },
        "scan": {
            "knows no predictions": p.feedback,
            "needs a structured A": not p.structured,
            "reads all steps": p.last and not p.rank,
        },
        "sequential": {
            "moves weights, and only modes of theirs move here": p.feedback and p.span > 0,
        },
    }[form]
    linear = {"cannot clip": p.clipped and form != "sequential"}
    return next((reason for reason, holds in {**linear, **reasons}.items() if holds), "")


@lru_cache(maxsize=256)
def choose(problem: Problem, machine: Machine, form: str = "auto") -> Estimate:
    """The best form for `problem` by `Estimate.rank`; of a given `form` the best free numbers.

    Raises:
        ConfigError: if `form` cannot compute it.
    """
    fitting = [name for name in FORMS if not refusal(problem, name)]
    if form != "auto" and form not in fitting:
        reason = refusal(problem, form) if form in FORMS else "does not exist"
        raise ConfigError(
            f"the form `{form}` cannot compute this run: it {reason}",
            where="form",
            expected=f"one of auto, loop, {', '.join(fitting)}",
        )
    wanted = fitting if form == "auto" else [form]
    found = [each for name in wanted for each in estimates(problem, name)]
    return min(found, key=lambda each: each.rank(machine))


def free(
    layer: Layer,
    x: Tensor,
    ticks: Ticks,
    *,
    noise: Tensor | None = None,
    length: Tensor | None = None,
    carry: Carry | None = None,
    last: bool = False,
    form: str = "auto",
) -> tuple[Tensor, Tensor]:
    """M1: as `reference.free` for one layer, up to rounding, with gradients.

    Args:
        layer: theta_0, A, B, root and rule.
        x: (N, T, d), with its first real datum repeated through the front padding.
        ticks: the clock of a free run.
        noise: added to theta_0, (N, D).
        length: steps of each right-aligned sequence, (N,); None: T.
        carry: the state that the run continues; None: the layer's own start.
        last: whether only the last step is read.
        form: `auto` or one of `FORMS`.
    Returns: raw outputs (N, T, o), or (N, 1, o), and the last weights (N, D).
    Raises:
        ConfigError: if `form` cannot compute this run.
    """
    x, tau, dclock = (part.to(layer.B.dtype) for part in (x, *ticks))
    theta_0 = layer.start(first_data(x, length), noise) if carry is None else carry.theta
    theta_0 = theta_0[0] if theta_0.dim() == 2 and len(theta_0) == 1 else theta_0
    starts = 1 if theta_0.dim() == 1 else len(theta_0)
    problem = Problem.of(layer, *_sizes(x), last=last, starts=starts, ragged=length is not None)
    plan = choose(problem, Machine.of(x.device), form)
    drive = free_drive(x, dclock, length, None if carry is None else carry.seen)
    z = tau if tau.dim() == 3 else tau.unsqueeze(1)
    if layer.rule.input_prev_data:
        z = torch.cat([z.expand(-1, x.shape[0], -1), x.transpose(0, 1)], -1)
    if last:
        theta = _last_weights(layer, theta_0, drive, length, plan)
        return layer.root(theta, z[-1].expand(x.shape[0], -1)).unsqueeze(1), theta
    return _all_outputs(layer, theta_0, drive, z, length, plan)


def fed_back(
    layer: Layer,
    head: Head,
    x: Tensor,
    force: Tensor,
    ticks: Ticks,
    *,
    sample: Tensor | None = None,
    noise: Tensor | None = None,
    length: Tensor | None = None,
    carry: Carry | None = None,
    back: Feedback | None = None,
    form: str = "auto",
) -> Rolled:
    """M2 and M3: as `reference.autoregress` for one layer; arguments as for `rollout`.

    Raises:
        ConfigError: if `form` cannot compute this run.
    """
    problem = Problem.of(
        layer,
        *_sizes(x),
        feedback=True,
        starts=count_starts(layer, x[:, 0], noise, carry),
        ragged=length is not None,
    )
    machine = Machine.of(x.device)
    run = partial(
        rollout, layer, head, x, force, ticks,
        sample=sample, noise=noise, length=length, carry=carry, back=back,
    )  # fmt: skip
    if form == "auto" and _may_never_clip(layer, problem, x):
        plan = choose(replace(problem, clipped=False), machine)
        if plan.form == "history":
            with suppress(Bound):
                return run(form="history", doublings=plan.doublings)
    plan = choose(problem, machine, form)
    return run(form="history" if plan.form == "history" else "sequential", doublings=plan.doublings)


def _sizes(x: Tensor) -> tuple[int, int]:
    """N and T for the choice; N is 1 if a program is traced for any number of sequences."""
    count, steps = x.shape[:2]
    return count if isinstance(count, int) else 1, steps


def _may_never_clip(layer: Layer, problem: Problem, x: Tensor) -> bool:
    """Whether to try a form that is exact only if the clip never changes a weight.

    It is not tried on a GPU, where the check at each step would wait for the device; if the state
    is not the weights; or if the initial weights already reach the bound.
    """
    limit = layer.rule.limit
    if (
        limit is None
        or layer.rule.halves
        or problem.span
        or x.device.type != "cpu"
        or not layer.initial.shared
    ):
        return False
    with torch.no_grad():
        first = layer.transition(layer.start(x[:, 0]))
        return bool(first.abs().max() <= limit)


def _last_weights(
    layer: Layer, theta_0: Tensor, drive: Tensor, length: Tensor | None, plan: Estimate
) -> Tensor:
    A, B, second = layer.transition, layer.B, layer.rule.second_order
    if plan.form in ("sequential", "scan"):
        valid = valid_steps(length, drive.shape[1])
        if plan.form == "scan":
            assert A.factors is not None
            return by_factors(A.factors, B, theta_0, drive, None, valid, second_order=second)[1]
        return step_by_step(
            A, B, theta_0, drive, None, valid,
            limit=layer.rule.limit, halves=layer.rule.halves, second_order=second,
            chunk=plan.chunk,
        )[1]  # fmt: skip
    compute = by_lags if plan.form == "last_state" else by_chunks
    if not second:
        return compute(A, B, theta_0, drive, length, plan.doublings)
    # theta_t - theta_0 is a first-order recurrence from zero, driven by the sums of the drive.
    moved = compute(A, B, torch.zeros_like(B[:, 0]), drive.cumsum(1), length, plan.doublings)
    return theta_0 + moved


def _all_outputs(
    layer: Layer,
    theta_0: Tensor,
    drive: Tensor,
    z: Tensor,
    length: Tensor | None,
    plan: Estimate,
) -> tuple[Tensor, Tensor]:
    A, B, second = layer.transition, layer.B, layer.rule.second_order
    reader = Reader(lambda theta, z: read(layer.root, theta, z), z, plan.chunk)
    valid = valid_steps(length, drive.shape[1])
    if plan.form == "history":
        return by_history(
            A, B, theta_0, drive, reader, length, second_order=second, doublings=plan.doublings
        )
    out: Tensor | None
    if plan.form == "sequential":
        out, theta = step_by_step(
            A, B, theta_0, drive, reader, valid,
            limit=layer.rule.limit, halves=layer.rule.halves, second_order=second,
        )  # fmt: skip
    elif A.factors is not None:
        out, theta = by_factors(A.factors, B, theta_0, drive, reader, valid, second_order=second)
    else:
        out, theta = by_doubling(A, B, theta_0, drive, reader, valid, second_order=second)
    assert out is not None
    return out, theta
