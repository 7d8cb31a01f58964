"""A GRU computed step by step on CPUs, with hand-written back-propagation through time."""

# T steps, B batch, D state

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weft.families.jepa.nets.loop import Constant
from weft.nn.dense import product
from weft.nn.once import once


def gru_cell(gates_x: Tensor, gates_h: Tensor, h: Tensor) -> Tensor:
    """One step of a GRU (Cho et al. 2014, in torch's form).

    r, z = sigmoid(x + h); n = tanh(x + r * h); h' = n + z * (h - n).

    Args:
        gates_x, gates_h: contributions of input and state to r, z and n, (B, 3 D).
        h: state, (B, D).
    """
    dim = h.shape[-1]
    x_rz, x_n = gates_x.split((2 * dim, dim), dim=-1)
    h_rz, h_n = gates_h.split((2 * dim, dim), dim=-1)
    r, z = (x_rz + h_rz).sigmoid().chunk(2, dim=-1)
    return torch.lerp(torch.addcmul(x_n, r, h_n).tanh(), h, z)


class Recurrence:
    """States of a GRU, computed one after another without a graph and joined to it afterwards.

    Autograd would record about twenty small operations per step. Here `step` stores what the
    gradient needs, and `join` makes the states a function of the gates. Its backward pass is one
    loop; everything that does not depend on later steps is computed for all steps at once.

    Args:
        h: the first state, (B, D).
        weight: of the state, (3 D, D).
        bias: of the state, (3 D,).
        steps: T.
    """

    def __init__(self, h: Tensor, weight: Tensor, bias: Tensor, steps: int) -> None:
        rows, dim = h.shape
        self.of_state = Constant(weight, bias, rows)
        self.states = h.new_empty(steps + 1, rows, dim)
        self.gates = h.new_empty(steps, rows, 2 * dim)
        self.news, self.held = (h.new_empty(steps, rows, dim) for _ in range(2))
        self.states[0] = h.detach()
        self.done = 0

    def step(self, gates_x: Tensor) -> Tensor:
        """The next state (B, D), given the input's contribution to r, z and n, (B, 3 D)."""
        t, dim = self.done, self.states.shape[-1]
        self.done += 1
        h, gates, new = self.states[t], self.gates[t], self.news[t]
        with torch.no_grad():
            gates_h = self.of_state(h)
            self.held[t] = gates_h[:, 2 * dim :]
            torch.add(gates_x[:, : 2 * dim], gates_h[:, : 2 * dim], out=gates).sigmoid_()
            torch.addcmul(gates_x[:, 2 * dim :], gates[:, :dim], self.held[t], out=new).tanh_()
            return torch.lerp(new, h, gates[:, dim:], out=self.states[t + 1])

    def join(self, gates_x: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The states after each step, (T, B, D), differentiable in all arguments.

        Args:
            gates_x: the arguments of all calls of `step`, (T, B, 3 D).
            h, weight, bias: those of the constructor.
        """
        states: Tensor = _Joined.apply(gates_x, h, weight, bias, self)
        return states


class _Joined(torch.autograd.Function):
    """The gradient of states that are already computed."""

    @staticmethod
    def forward(
        ctx: Any, gates_x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, made: Recurrence
    ) -> Tensor:
        ctx.made = made
        return made.states[1:]

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        made: Recurrence = ctx.made
        before, new = made.states[:-1], made.news
        r, z = made.gates.chunk(2, dim=-1)
        # Derivatives of h' by the argument of the tanh, and by the state's part of each gate.
        closed = 1 - z
        inside = (new * new).neg_().add_(1).mul_(closed)
        share = new.new_empty(*new.shape[:2], 3, new.shape[2])  # (T, B, 3, D)
        torch.mul(inside, r, out=share[:, :, 2])
        torch.mul(share[:, :, 2], (1 - r).mul_(made.held), out=share[:, :, 0])
        torch.mul((before - new).mul_(z), closed, out=share[:, :, 1])
        of_gates, of_states = torch.empty_like(share), torch.empty_like(new)
        carried = torch.zeros_like(new[0])
        for t in reversed(range(len(new))):
            torch.add(grad[t], carried, out=of_states[t])
            torch.mul(of_states[t][:, None], share[t], out=of_gates[t])
            through = made.of_state.transposed(of_gates[t].flatten(1))
            carried = torch.addcmul(through, of_states[t], z[t])
        rows = of_gates.flatten(0, 1).flatten(1)
        low = made.of_state.low
        of_weight = product(rows.to(low).t(), before.flatten(0, 1).to(low).t()).to(rows.dtype)
        of_bias = rows.sum(0)
        # The input's contribution to n is not multiplied by r.
        torch.mul(of_states, inside, out=of_gates[:, :, 2])
        return of_gates.flatten(2), carried, of_weight, of_bias, None


def gru(gates_x: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """States (T, B, D) of a GRU whose inputs are known in advance.

    Args:
        gates_x: the inputs' contributions to r, z and n, (T, B, 3 D).
        h: the first state, (B, D).
        weight, bias: of the state, (3 D, D) and (3 D,).
    """
    made = Recurrence(h, weight, bias, len(gates_x))
    for gates in gates_x.detach().unbind():
        made.step(gates)
    return made.join(gates_x, h, weight, bias)
