"""One layer that feeds its predictions back (M2, M3), in two fast forms of the literal loop."""

# N batch, T steps, d data channels, r clock channels, q clock features, D weights, o raw outputs

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from weft.families.warp.cell.clock import Ticks
from weft.families.warp.cell.drive import valid_steps
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.outputs import Head
from weft.families.warp.cell.root import Root
from weft.families.warp.cell.span import Span
from weft.families.warp.forms.adjoint import Course, mix
from weft.families.warp.forms.decode import decoder
from weft.families.warp.forms.history import run_history
from weft.families.warp.forms.lag import response
from weft.families.warp.forms.sequential import Motion, run_sequential
from weft.families.warp.forms.unordered import history_at_once, steps_at_once
from weft.families.warp.reference import Carry, Feedback
from weft.nn.precision import full_precision

Form = Literal["history", "sequential"]


class Rolled(NamedTuple):
    """The result of a run.

    Attributes:
        out: outputs of the head for all steps, (N, T, o).
        theta: the weights after the last step, (N, D), or the state of a `Span`.
    """

    out: Tensor
    theta: Tensor


def rollout(
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
    form: Form = "sequential",
    doublings: int = 0,
) -> Rolled:
    """As `reference.autoregress` for one layer, up to rounding, with gradients.

    Autocast has no effect: everything is computed in the precision of the parameters.

    Args:
        layer: theta_0, A, B, root and rule.
        head: gives mean and std of raw outputs.
        x: (N, T, d).
        force: share of the truth in each step's input, (N, T).
        ticks: the clock of a run with this drive.
        sample: standard normal, (N, T, d): the prediction fed back is mean + std * sample; None
            feeds back the mean.
        noise: added to theta_0, (N, D).
        length: steps of each right-aligned sequence, (N,); the padding repeats the first datum.
        carry: the state that the run continues; None: the layer's own start.
        back: the predictions fed to the first step; None: x_0.
        form: `history` (F3; sequences with equal x_0 share their start), if all have T steps, or
            `sequential` (F4), which does not work with a `Span`.
        doublings: of the kernel of `history`, see `lag_kernel`.
    Raises:
        Bound: in `history`, at the first step at which the clip would change a weight.
    """
    assert form == "sequential" or length is None
    dtype = layer.B.dtype
    with full_precision(x.device):
        x = x.to(dtype)
        first = x[:, 0]
        tau, dclock = (clock.to(dtype) for clock in ticks)
        begun = valid_steps(length, x.shape[1])
        begun = None if begun is None else begun.mT.unsqueeze(-1)
        shares = force.to(dtype).mT.unsqueeze(-1)
        fed = None if carry is None else carry.seen
        known, a, b = mix(layer.rule.drive, x.transpose(0, 1), shares, fed)
        opening = torch.stack([first, first] if back is None else [back.before, back.guess])
        noises = None if sample is None else sample.to(dtype).transpose(0, 1)
        decode = decoder(_inner(layer.root))
        course = Course(decode, head, a, b, tau, layer.rule.input_prev_data, noises, begun)
        if form == "history":
            run = _Run(course, known, opening, *starts(layer, first, noise, carry))
            raw, theta = _by_history(layer, run, dclock, doublings)
        else:
            theta_0 = layer.start(first, noise) if carry is None else carry.theta
            theta_0 = theta_0.expand(x.shape[0], -1).contiguous()
            raw, theta = _by_steps(layer, _Run(course, known, opening, theta_0), dclock)
        return Rolled(head(raw.transpose(0, 1)), theta)


class _Run(NamedTuple):
    """What a form starts from: the inputs, the first weights (G, D), and the number of those that
    each sequence has, (N,); None if G is 1, or each has its own."""

    course: Course
    known: Tensor
    opening: Tensor
    theta_0: Tensor
    group: Tensor | None = None


def _by_history(layer: Layer, run: _Run, dclock: Tensor, doublings: int) -> tuple[Tensor, Tensor]:
    """Raw outputs (T, N, o), and the last weights (N, D) or modes, from the kernel of A."""
    root, rule, course = layer.root, layer.rule, run.course
    kernel, path = response(
        layer.transition,
        layer.B,
        run.theta_0,
        dclock,
        second_order=rule.second_order,
        doublings=doublings,
    )
    reached = (kernel, path)
    if isinstance(root, Span):
        reached = (kernel @ root.C.mT, root.weights(path))
    if kernel.is_meta:
        raw, theta = history_at_once(course, _inner(root), *reached, run.known.shape[1])
    else:
        raw, theta = run_history(
            course, *reached, run.group, run.known, run.opening, root.outputs, rule.limit
        )
    if isinstance(root, Span):
        theta = _last_state(course, kernel, path, run.group, run.known, run.opening, raw)
    return raw, theta


def _by_steps(layer: Layer, run: _Run, dclock: Tensor) -> tuple[Tensor, Tensor]:
    """Raw outputs (T, N, o) and the last weights (N, D), step by step."""
    rule, begun, theta_0 = layer.rule, run.course.begun, run.theta_0
    motion = Motion(layer.transition, rule.limit, rule.second_order, begun, rule.halves, rule.half)
    if begun is not None:
        # Every sequence starts with the first row of the clock.
        opens = begun & ~torch.cat([torch.zeros_like(begun[:1]), begun[:-1]])
        dclock = dclock if dclock.dim() == 3 else dclock.unsqueeze(1)
        dclock = torch.where(opens, dclock[0], dclock)
    if theta_0.is_meta:
        return steps_at_once(run.course, _inner(layer.root), motion, layer.B, theta_0)
    outputs = layer.root.outputs
    return run_sequential(
        run.course, motion, layer.B, theta_0, run.known, run.opening, dclock, outputs
    )


def _inner(root: Root) -> Root:
    """The root that reads weights: that of a `Span`, or itself."""
    return root.inner if isinstance(root, Span) else root


def _last_state(
    course: Course,
    kernel: Tensor,
    path: Tensor,
    group: Tensor | None,
    known: Tensor,
    opening: Tensor,
    raw: Tensor,
) -> Tensor:
    """h_T = Z_T + sum_s K_{T-s} dx_s, (N, m), after a run, when its drives are known."""
    fed = course.predict(raw, course.noise)
    guess = torch.cat([opening[1:], fed[:-1]])
    before = torch.cat([opening[:1], guess[:-1]])
    moves = known + course.a * guess + course.b * before
    start = path[-1] if group is None else path[-1, group]
    return start + torch.einsum("tnd,tdm->nm", moves, kernel.flip(0))


def starts(
    layer: Layer, first: Tensor, noise: Tensor | None, carry: Carry | None = None
) -> tuple[Tensor, Tensor | None]:
    """The distinct theta_0, (G, D), and the number of that of each sequence, (N,); None if G = 1.

    Args:
        layer: gives theta_0.
        first: x_0, (N, d). Sequences with equal x_0 share their start, if no gradient by x_0 is
            needed and tensors have values (not those of a dry run).
        noise: added to theta_0, (N, D), which makes all starts distinct.
        carry: has theta_0 instead of the layer.
    """
    if carry is not None:
        return carry.theta, torch.arange(len(first), device=first.device)
    if layer.initial.shared and noise is None:
        return layer.start(first).unsqueeze(0), None
    if noise is not None or _indistinct(first):
        theta_0 = layer.start(first, noise).expand(len(first), -1)
        return theta_0, torch.arange(len(first), device=first.device)
    different, group = torch.unique(first, dim=0, return_inverse=True)
    return layer.start(different), group


def _indistinct(first: Tensor) -> bool:
    """Whether equal data may not be looked for.

    They may not if gradients by them are needed, if they have no values, or during the capture of a
    CUDA graph, in which values cannot be read.
    """
    recorded = first.is_cuda and torch.cuda.is_current_stream_capturing()
    return first.requires_grad or first.is_meta or recorded


def count_starts(
    layer: Layer, first: Tensor, noise: Tensor | None, carry: Carry | None = None
) -> int:
    """G, the number of distinct theta_0 that `starts` gives."""
    if carry is not None:
        return len(first)
    if layer.initial.shared and noise is None:
        return 1
    if noise is not None or _indistinct(first):
        return len(first)
    return len(torch.unique(first, dim=0))
