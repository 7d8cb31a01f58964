"""The state from which a run starts or continues, and the state it returns."""

# N batch, d data channels, D weights

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weft.errors import ConfigError, DataError
from weft.families.warp.cell.layer import Layer
from weft.families.warp.reference import Carry, Feedback, State


def check_theta0(layers: Sequence[Layer], theta0: Tensor, count: int, state: State | None) -> None:
    """Checks that N = `count` sequences can start from these weights.

    Raises:
        ConfigError: if there are several layers, or a state as well.
        DataError: if the shape is neither (D,) nor (N, D).
    """
    if len(layers) > 1 or state is not None:
        raise ConfigError(
            "weights to start from are those of one layer that starts",
            where="theta0",
            expected="no `inner_sizes` and no `state`, which has the weights of all layers",
        )
    size = layers[0].root.size
    if tuple(theta0.shape) not in ((size,), (count, size)):
        raise DataError(
            f"`theta0` has shape {tuple(theta0.shape)}", expected=f"({size},) or ({count}, {size})"
        )


def check_kind(state: object) -> None:
    """Checks that `state` is one that a call has returned.

    Raises:
        DataError: if it is something else, such as weights.
    """
    if not isinstance(state, State):
        raise DataError(
            f"a {type(state).__name__} is no state",
            where="state",
            expected="what a call returned; weights to start from are given as `theta0`",
        )


def check_state(
    layers: Sequence[Layer],
    state: State,
    count: int,
    *,
    feedback: bool,
    ragged: bool,
    timed: bool,
    convolves: bool,
) -> None:
    """Checks that N = `count` sequences can continue from a state.

    Args:
        layers: of the network.
        state: returned by an earlier run.
        count: N.
        feedback: whether predictions are fed back.
        ragged: whether lengths of sequences differ.
        timed: whether the time of a step does not depend on the number of steps.
        convolves: whether there is a convolution over time.
    Raises:
        ConfigError: if this kind of run cannot be continued.
        DataError: if its weights have another shape.
    """
    reasons = {
        "the time of a step depends on how many there will be: set `length`": not timed,
        "a convolution over time needs data that are gone": convolves,
        "the velocity of a second-order rule is not kept": layers[0].rule.second_order,
        "sequences of different lengths do not go on together": ragged,
        "it was left by the other kind of run, free or fed back": feedback == (state.back is None),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(
                f"a run cannot continue from this state: {reason}",
                where="state",
                hint="weft.families.warp.score.streaming.Stream reads one datum at a time",
            )
    shape = (count, layers[-1].root.size)
    if len(state.carries) != len(layers) or tuple(state.theta.shape) != shape:
        raise DataError(
            f"the state has weights of shape {tuple(state.theta.shape)} in "
            f"{len(state.carries)} layers",
            where="state",
            expected=f"{shape} in {len(layers)}",
        )


def carry_of(layer: Layer, theta0: Tensor, first: Tensor) -> Carry:
    """The state of a run with first data (N, d) that starts from given weights."""
    theta = theta0.to(layer.B.dtype).expand(len(first), -1)
    return Carry(theta, torch.zeros_like(theta), first)


def left(theta: Tensor, seen: Tensor) -> Carry:
    """The state after a fast form, which has no velocity."""
    return Carry(theta, torch.zeros_like(theta[:, :1]).expand_as(theta), seen)


def left_fed_back(
    x: Tensor,
    force: Tensor,
    guesses: Tensor,
    theta: Tensor,
    length: Tensor | None,
    back: Feedback | None,
) -> tuple[Carry, Feedback]:
    """The state after a fast form that feeds predictions back.

    Args:
        x: (N, T, d).
        force: (N, T).
        guesses: predictions of the steps, (N, T, d).
        theta: the last weights, (N, D).
        length: steps of right-aligned sequences, (N,), or None.
        back: predictions of the state that the run continued, or None.
    """
    first = x[:, 0] if back is None else back.guess
    before = guesses[:, -2] if guesses.shape[1] > 1 else first
    if length is not None:
        before = torch.where((length > 1).unsqueeze(1), before, first)
    share = force[:, -1:]
    fed = share * x[:, -1] + (1 - share) * before
    return left(theta, fed), Feedback(guesses[:, -1], before)
