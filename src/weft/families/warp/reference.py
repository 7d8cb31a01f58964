"""The recurrence as its equations read, step by step under autograd: slow, and the oracle."""

# N batch, T steps, d data channels, r clock channels, D weights, o outputs

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from weft.families.warp.cell.clock import Ticks
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.outputs import Head


class Run(NamedTuple):
    """What a run of the loop leaves.

    Attributes:
        out: raw outputs of the last layer's root in a free run; the head's in one that feeds
            predictions back, (N, T, o).
        carries: of each layer, after the last step.
        back: the predictions that the next step would be fed; None of a free run.
        states: each layer's weights after each step, (N, T, D) each; empty if not kept.
    """

    out: Tensor
    carries: list[Carry]
    back: Feedback | None
    states: list[Tensor]

    @property
    def theta(self) -> list[Tensor]:
        """Each layer's weights after the last step, (N, D) each."""
        return [carry.theta for carry in self.carries]


class Carry(NamedTuple):
    """The state of one layer.

    Attributes:
        theta: weights, (N, D).
        velocity: v of a second-order rule, (N, D); zero at the start and unused by others.
        seen: the layer's input one step earlier, (N, d).
    """

    theta: Tensor
    velocity: Tensor
    seen: Tensor


class Feedback(NamedTuple):
    """What a run remembers of its own predictions.

    Attributes:
        guess: xhat_t, the prediction fed back, (N, d).
        before: xprev_t, the one fed back a step earlier, (N, d).
    """

    guess: Tensor
    before: Tensor


class State(NamedTuple):
    """Where a run stands after a step: what the rest of its sequence goes on from.

    Attributes:
        carries: of each layer.
        back: the predictions fed back; None of a free run.
        position: place of the last step on the clock, (1,).
    """

    carries: tuple[Carry, ...]
    back: Feedback | None
    position: Tensor

    @property
    def theta(self) -> Tensor:
        """The last layer's weights, (N, D)."""
        return self.carries[-1].theta

    def detach(self) -> State:
        """The same state, through which no gradient flows: for training in parts of a sequence."""
        return self.map(Tensor.detach)

    def map(self, change: Callable[[Tensor], Tensor]) -> State:
        """The state with each of its tensors that has a row a sequence changed."""
        carries = tuple(Carry(*map(change, carry)) for carry in self.carries)
        back = None if self.back is None else Feedback(*map(change, self.back))
        return State(carries, back, self.position)


def begin(layer: Layer, first: Tensor, noise: Tensor | None = None) -> Carry:
    """The state of a layer before its first input `first` (N, d): theta_0, v = 0, x_{-1} = x_0."""
    theta = layer.start(first, noise).expand(first.shape[0], -1)
    return Carry(theta, torch.zeros_like(theta), first)


def move(layer: Layer, carry: Carry, dx: Tensor, dclock: Tensor, seen: Tensor) -> Carry:
    """theta_t = clip(A theta_{t-1} + B [dx_t, dclock_t]), or v_t first and then theta_t.

    Args:
        layer: A, B and the rule.
        carry: the state before the step.
        dx: differences of the data, (N, d).
        dclock: differences of the clock, (r,) or (N, r).
        seen: what the next step is to take as the input before it, (N, d).
    """
    push = torch.cat([dx, dclock.expand(dx.shape[0], -1)], -1) @ layer.B.mT
    velocity = carry.velocity
    if layer.rule.second_order:
        velocity = layer.transition(carry.velocity) + push
        theta = carry.theta + velocity
    else:
        theta = layer.transition(carry.theta) + push
    if layer.rule.limit is not None:
        limit = layer.rule.limit
        theta = clip_halving(theta, limit) if layer.rule.halves else theta.clamp(-limit, limit)
    return Carry(theta, velocity, seen)


def clip_halving(theta: Tensor, limit: float) -> Tensor:
    """clip(theta, -limit, limit), whose gradient at the bound itself is half of that inside."""
    bound = torch.full_like(theta, limit)
    # torch shares the gradient of the larger of two equals between them.
    return theta.maximum(-bound).minimum(bound)


def read(layer: Layer, theta: Tensor, tau: Tensor, data: Tensor) -> Tensor:
    """root(theta_t; tau_t, data if input_prev_data): raw outputs (N, o)."""
    z = tau.expand(theta.shape[0], -1)
    if layer.rule.input_prev_data:
        z = torch.cat([z, data], -1)
    return layer.root(theta, z)


def free_step(layer: Layer, carry: Carry, x: Tensor, dclock: Tensor) -> Carry:
    """One step of M1: dx_t = x_t - x_{t-1}."""
    return move(layer, carry, x - carry.seen, dclock, x)


def feedback_step(
    layer: Layer, carry: Carry, back: Feedback, x: Tensor, force: Tensor, dclock: Tensor
) -> Carry:
    """One step of M2 and M3: the input is a mix of the truth and the prediction of it.

    Args:
        layer: A, B and the rule.
        carry: the state; `seen` is the input (truth or prediction) of the step before.
        back: the predictions fed back.
        x: the truth, (N, d).
        force: share of the truth, (N,).
        dclock: (r,) or (N, r).
    """
    share = force.unsqueeze(-1)
    fed = share * x + (1 - share) * back.guess
    base = {"diff": back.before, "innovation": back.guess, "true_diff": carry.seen}
    return move(layer, carry, fed - base[layer.rule.drive], dclock, fed)


def free(
    layers: Sequence[Layer],
    x: Tensor,
    ticks: Ticks,
    *,
    noise: Sequence[Tensor] | None = None,
    length: Tensor | None = None,
    carries: Sequence[Carry] | None = None,
    keep_states: bool = False,
) -> Run:
    """M1: the data drive the first layer, and the outputs of each layer the next one.

    Args:
        layers: first to last; each root has as many outputs as the next layer has channels.
        x: (N, T, d).
        ticks: the clock of a free run.
        noise: added to each layer's theta_0, (N, D) each.
        length: steps of each right-aligned sequence, (N,); during its front padding a sequence
            stays at theta_0.
        carries: what each layer goes on from; None for its own start.
        keep_states: whether all weights of all steps are returned.
    """
    loop = _Loop(layers, x, ticks, noise, length, carries, keep_states)
    for t in range(x.shape[1]):
        signal = x[:, t]
        for i, layer in enumerate(layers):
            signal = loop.free_layer(t, i, layer, signal)
        loop.outs.append(signal)
    return loop.result()


def autoregress(
    layers: Sequence[Layer],
    head: Head,
    x: Tensor,
    force: Tensor,
    ticks: Ticks,
    *,
    sample: Tensor | None = None,
    noise: Sequence[Tensor] | None = None,
    length: Tensor | None = None,
    carries: Sequence[Carry] | None = None,
    back: Feedback | None = None,
    keep_states: bool = False,
) -> Run:
    """M2 and M3: predictions come back as inputs, where `force` does not put the truth.

    The first layer follows its rule's drive; in a stack the layers above it are driven by the
    differences of what lies below, as in a free run.

    Args:
        layers: first to last.
        head: gives mean and std of the last layer's raw outputs.
        x: (N, T, d).
        force: share of the truth in each step's input, (N, T).
        ticks: the clock of a run with this drive.
        sample: standard normal, (N, T, d): the prediction fed back is mean + std * sample; None
            feeds back the mean.
        noise: added to each layer's theta_0, (N, D) each.
        length: steps of each right-aligned sequence, (N,).
        carries: what each layer goes on from; None for its own start.
        back: the predictions that the first step is fed; x_0 if None.
        keep_states: whether all weights of all steps are returned.
    """
    loop = _Loop(layers, x, ticks, noise, length, carries, keep_states)
    back = back or Feedback(x[:, 0], x[:, 0])
    for t in range(x.shape[1]):
        carry = loop.entering(t, 0, x[:, t])
        moved = feedback_step(layers[0], carry, back, x[:, t], force[:, t], loop.dclock(t))
        signal = loop.leave(t, 0, layers[0], carry, moved, back.before)
        for i, layer in enumerate(layers[1:], start=1):
            signal = loop.free_layer(t, i, layer, signal)
        out = head(signal)
        loop.outs.append(out)
        guess = out[:, : head.channels]
        if sample is not None:
            guess = guess + out[:, head.channels : 2 * head.channels] * sample[:, t]
        following = Feedback(guess, back.guess)
        back = following if loop.starts is None else _choose(loop.starts <= t, following, back)
    return loop.result(back)


class _Loop:
    """What both loops share: the states of the layers, and sequences that start late."""

    def __init__(
        self,
        layers: Sequence[Layer],
        x: Tensor,
        ticks: Ticks,
        noise: Sequence[Tensor] | None,
        length: Tensor | None,
        carries: Sequence[Carry] | None,
        keep_states: bool,
    ) -> None:
        self.layers, self.ticks, self.noise = layers, ticks, noise
        self.starts = None if length is None else x.shape[1] - length
        self.continued = carries is not None
        self.carries: dict[int, Carry] = dict(enumerate(carries or ()))
        self.outs: list[Tensor] = []
        self.kept: list[list[Tensor]] | None = [[] for _ in layers] if keep_states else None

    def entering(self, t: int, i: int, signal: Tensor) -> Carry:
        """The state of layer i before step t, begun anew where a sequence starts at t."""
        noise = None if self.noise is None else self.noise[i]
        if self.continued:
            return self.carries[i]
        if t == 0:
            return begin(self.layers[i], signal, noise)
        if self.starts is None:
            return self.carries[i]
        anew = begin(self.layers[i], signal, noise)
        return _choose(self.starts == t, anew, self.carries[i])

    def dclock(self, t: int) -> Tensor:
        """The clock's drive at step t, (r,) or (N, r): its first row where a sequence starts."""
        if self.starts is None:
            return self.ticks.dclock[t]
        at_start = (self.starts == t).unsqueeze(-1)
        return torch.where(at_start, self.ticks.dclock[0], self.ticks.dclock[t])

    def leave(
        self, t: int, i: int, layer: Layer, before: Carry, moved: Carry, data: Tensor
    ) -> Tensor:
        """Takes in the state of layer i after step t, where it has started, and reads it."""
        carry = moved if self.starts is None else _choose(self.starts <= t, moved, before)
        self.carries[i] = carry
        if self.kept is not None:
            self.kept[i].append(carry.theta)
        return read(layer, carry.theta, self.ticks.tau[t], data)

    def free_layer(self, t: int, i: int, layer: Layer, signal: Tensor) -> Tensor:
        """Step t of layer i driven by `signal` (N, d): its raw outputs."""
        carry = self.entering(t, i, signal)
        moved = free_step(layer, carry, signal, self.dclock(t))
        return self.leave(t, i, layer, carry, moved, signal)

    def result(self, back: Feedback | None = None) -> Run:
        """The run, once all steps are done."""
        states = [] if self.kept is None else [torch.stack(kept, 1) for kept in self.kept]
        return Run(torch.stack(self.outs, 1), list(self.carries.values()), back, states)


Moving = TypeVar("Moving", Carry, Feedback)


def _choose(mask: Tensor, yes: Moving, no: Moving) -> Moving:
    """Sequence by sequence, `yes` where mask (N,) holds."""
    pairs = zip(yes, no, strict=True)
    return type(yes)(*(torch.where(mask.unsqueeze(-1), a, b) for a, b in pairs))
