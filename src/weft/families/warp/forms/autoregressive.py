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
from weft.families.warp.cell.recurrence_rule import Rule
from weft.families.warp.forms.adjoint import Course, mix
from weft.families.warp.forms.decode import decoder
from weft.families.warp.forms.history import run_history
from weft.families.warp.forms.lag import response
from weft.families.warp.forms.sequential import Motion, run_sequential
from weft.families.warp.forms.unordered import history_at_once, steps_at_once
from weft.nn.precision import full_precision

Form = Literal["history", "sequential"]


class Rolled(NamedTuple):
    """What a run leaves.

    Attributes:
        out: what the head makes of all steps, (N, T, o).
        theta: the weights after the last step, (N, D).
    """

    out: Tensor
    theta: Tensor


def allows_history(rule: Rule, length: Tensor | None = None) -> bool:
    """Whether the weights are linear in the drives, with one kernel for all sequences."""
    return rule.limit is None and length is None


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
    form: Form = "sequential",
    doublings: int = 0,
) -> Rolled:
    """What `reference.autoregress` gives for one layer, up to rounding; gradients included.

    Autocast is left: everything runs in the precision of the parameters.

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
        form: `history` (F3; sequences with equal x_0 share their start) if `allows_history`, or
            `sequential` (F4).
        doublings: of the kernel of `history`, see `lag_kernel`.
    """
    assert form == "sequential" or allows_history(layer.rule, length)
    dtype = layer.B.dtype
    with full_precision(x.device):
        x = x.to(dtype)
        first = x[:, 0]
        tau, dclock = (clock.to(dtype) for clock in ticks)
        begun = valid_steps(length, x.shape[1])
        begun = None if begun is None else begun.mT.unsqueeze(-1)
        shares = force.to(dtype).mT.unsqueeze(-1)
        known, a, b = mix(layer.rule.drive, x.transpose(0, 1), shares)
        course = Course(
            decoder(layer.root),
            head,
            a,
            b,
            tau,
            layer.rule.input_prev_data,
            None if sample is None else sample.to(dtype).transpose(0, 1),
            begun,
        )
        outputs = layer.root.outputs
        if form == "history":
            theta_0, group = starts(layer, first, noise)
            kernel, path = response(
                layer.transition,
                layer.B,
                theta_0,
                dclock,
                second_order=layer.rule.second_order,
                doublings=doublings,
            )
            if x.is_meta:
                raw, theta = history_at_once(course, layer.root, kernel, path, len(x))
            else:
                raw, theta = run_history(course, kernel, path, group, known, first, outputs)
        else:
            theta_0 = layer.start(first, noise).expand(len(x), -1).contiguous()
            motion = Motion(layer.transition, layer.rule.limit, layer.rule.second_order, begun)
            if begun is not None:
                # Whatever its place in the batch, a sequence starts with the clock's first row.
                opens = begun & ~torch.cat([torch.zeros_like(begun[:1]), begun[:-1]])
                dclock = torch.where(opens, dclock[0], dclock.unsqueeze(1))
            if x.is_meta:
                raw, theta = steps_at_once(course, layer.root, motion, layer.B, theta_0)
            else:
                raw, theta = run_sequential(
                    course, motion, layer.B, theta_0, known, first, dclock, outputs
                )
        return Rolled(head(raw.transpose(0, 1)), theta)


def starts(layer: Layer, first: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The different theta_0, (G, D), and which of them each sequence has, (N,); None if one.

    Args:
        layer: gives theta_0.
        first: x_0, (N, d); equal ones have equal starts, which are shared if no gradient by x_0
            is asked for and they have content (those of a dry run have none).
        noise: added to theta_0, (N, D): then all starts differ.
    """
    if layer.initial.shared and noise is None:
        return layer.start(first).unsqueeze(0), None
    if noise is not None or first.requires_grad or first.is_meta:
        theta_0 = layer.start(first, noise).expand(len(first), -1)
        return theta_0, torch.arange(len(first), device=first.device)
    different, group = torch.unique(first, dim=0, return_inverse=True)
    return layer.start(different), group


def count_starts(layer: Layer, first: Tensor, noise: Tensor | None) -> int:
    """How many theta_0 `starts` finds different."""
    if layer.initial.shared and noise is None:
        return 1
    if noise is not None or first.requires_grad or first.is_meta:
        return len(first)
    return len(torch.unique(first, dim=0))
