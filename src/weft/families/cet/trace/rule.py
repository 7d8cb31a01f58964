"""The traced update: a backward pass whose weight gradient combines a trace with a late error.

The error passed to the layer below is exact. Only the weight gradient differs from
back-propagation: dW = A' x with A = gate * (M' g), where M is the pairing matrix and a prime
transposes (README, "The rule").
"""

# S streams of B items make R rows (stream by stream, in time within a stream)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from weft.families.cet.trace.behind import Behind, Reading, energy, opened
from weft.families.cet.trace.carry import History, latest
from weft.families.cet.trace.kernel import Pairing
from weft.families.cet.trace.layout import as_rows, from_rows
from weft.families.cet.trace.memory import RunningMean
from weft.families.cet.trace.operation import Conv, Dense
from weft.families.cet.trace.similarity import Factors
from weft.families.cet.trace.watch import Watch
from weft.nn.once import once
from weft.nn.precision import full_precision, widened

Gate = Literal["trace", "both", "error"]


@dataclass(frozen=True)
class Rule:
    """What a trace stores, and what the derivative of the ReLU multiplies.

    Attributes:
        gate: the derivative multiplies the activity in the `trace`, the `error`, or `both`.
        sparse: an item is left out of the trace if the sum of squares of its error at the ReLU's
            output, for the stream's mean loss, is at most this; None keeps all items.
        threshold: the trace stores x where abs(x) >= threshold and 0 elsewhere; None stores x.
        binary: the trace stores 1 where x >= binary and 0 elsewhere; None stores x.
        covariance: lambda of the covariance form, in which traces store the deviation of the
            activity from its running mean, see `traced`; None is the plain form.
        theta_threshold: on the retrograde timescale, a gate below this times the largest tap of
            its kernel is set to 0.
    """

    gate: Gate = "both"
    sparse: float | None = None
    threshold: float | None = None
    binary: float | None = None
    covariance: float | None = None
    theta_threshold: float = 0.0

    def stored(self, x: Tensor) -> Tensor:
        """The part of the activity `x` that enters the trace, of the same shape."""
        if self.binary is not None:
            return (x >= self.binary).to(x.dtype)
        if self.threshold is not None:
            return x * (x.abs() >= self.threshold)
        return x


class Site(NamedTuple):
    """What the update of one layer needs besides its tensors.

    Attributes:
        operation: what the layer computes.
        rule: how its update is computed.
        watch: records at each backward pass whether a ReLU follows the layer.
        streams: S.
        history: activity and errors of earlier batches, in carry mode; else None.
        turn: `history.turn` at the forward pass.
        mean: running mean of the activity, in the covariance form; else None.
    """

    operation: Dense | Conv
    rule: Rule
    watch: Watch
    streams: int = 1
    history: History | None = None
    turn: int = 0
    mean: RunningMean | None = None


def traced(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pairing: Pairing,
    site: Site,
    moments: Tensor | None = None,
) -> Tensor:
    """The output of `site.operation`, whose weight gradient follows `site.rule` and `pairing`.

    The bias gradient is the sum of the errors that arrive. If the pairing is the identity, the
    result is plain back-propagation, whatever the rule. In the covariance form, with m the running
    mean of the stored activity x, and k the weight of an error with its own activity,

        dW = lambda / k A' (x - m) + (sum of arriving errors)' m.

    Args:
        x: input, shape (R, ...), R = S B rows: stream by stream, in time within a stream.
        weight, bias: of the layer; bias may be None.
        pairing: of the B items of a stream, or of all R rows if it was made for kept items.
        site: the rest; each backward pass advances its history, if it has one.
        moments: buffer of shape (2, 3) that the backward pass fills with inner products of the
            update and the true gradient of the errors that arrive, see `similarity`; None skips
            this.
    """
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
        pairing = pairing.to(x.device, dtype)
    out: Tensor = _Traced.apply(x, weight, bias, pairing, site, moments)
    return out


class _Traced(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        pairing: Pairing,
        site: Site,
        moments: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.pairing, ctx.site, ctx.moments = pairing, site, moments
        out = site.operation.forward(x, weight, bias)
        # A ReLU whose input is `out` finds the `Reading` in autograd's graph.
        ctx.layer = Reading(out > 0 if site.watch.follower == "function" else None)
        return out

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        pairing, site = ctx.pairing, ctx.site
        operation, rule, watch, streams, history, turn, running = site
        matrix, arrived, identity = pairing.matrix, pairing.arrived, pairing.is_identity
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        delta, behind = grad, ctx.layer.take(grad)
        watch.note(behind is not None)
        if behind is not None and not identity and pairing.has_own_gate(rule.theta_threshold):
            delta = _gated(behind, pairing, rule.theta_threshold)
        hidden, grad, pool = behind or (None, grad, None)
        grad_x = operation.error_of_input(delta, x, weight) if need_x else None
        entered, activity = None, x
        if rule.sparse is not None and not identity and (need_weight or history is not None):
            entered = _entered(energy(grad, hidden, pool), rule.sparse, streams)
        if history is not None:
            history.check(turn, watch.name)
            activity, hidden, entered, grad = history.advance(
                matrix, streams, x, hidden, entered, grad
            )
            recent = None if hidden is None else latest(hidden, streams, len(matrix))
            delta = opened(grad, recent, pool)
        arrives = delta if identity else _arriving(delta, pairing.arrival, arrived, streams)
        grad_bias = operation.sum_bias(arrives) if need_bias else None
        if not need_weight:
            return grad_x, None, grad_bias, None, None, None
        weights, stored = None, x if identity else rule.stored(activity)
        mean = None
        if running is not None and not identity:
            mean = running.advance(rule.stored(x)).to(stored.dtype)
            stored = stored - mean
        ungated = hidden is None or rule.gate == "error"
        if entered is not None:
            matrix = matrix * entered.to(matrix.dtype).view(-1, 1, matrix.shape[-1])
        if identity:
            post, pre = delta, stored
        elif ungated and x[0].numel() < delta[0].numel():
            post, pre = delta, _pair(matrix.mT, stored)  # the smaller of both is multiplied
            weights = matrix.sum(-1)
        elif ungated or rule.gate == "both":
            post, pre = _pair(matrix, delta, arrived), stored
            if not ungated:
                post = torch.ops.aten.threshold_backward.grad_input(
                    post, hidden, 0, grad_input=post
                )
        else:
            post, pre = opened(_pair(matrix, grad, arrived), hidden, pool), stored
        total = None
        if mean is not None:
            assert rule.covariance is not None
            total = _total(arrives).to(post.dtype)
            post = torch.cat([post * (rule.covariance / pairing.gain), total])
            pre = torch.cat([pre, mean])
        grad_weight = operation.correlate(post, pre, weight)
        if ctx.moments is not None:
            with full_precision(x.device):
                own = x if history is None else latest(activity, streams, len(pairing.arrival))
                mean_x = _summed(x) / len(x)

                def means() -> tuple[Factors, Factors]:
                    kept = mean_x if stored is activity else _summed(rule.stored(x)) / len(x)
                    true = _summed(arrives), mean_x
                    if mean is None or total is None:
                        return (_summed(post, weights), kept), true
                    traces = _summed(post[:-1], weights)
                    of_update = torch.cat([traces, total]), torch.cat([kept - mean, mean])
                    return of_update, true

                found = operation.moments(
                    grad_weight, (post, pre), (arrives, own), mean_x, means, weight
                )
                ctx.moments.copy_(found)
        return grad_x, grad_weight, grad_bias, None, None, None


def _gated(behind: Behind, pairing: Pairing, threshold: float) -> Tensor:
    """Error at the layer's output, through the gate of the retrograde timescale."""
    hidden, error, pool = behind
    gate = (hidden > 0).to(hidden.dtype)
    if pairing.gate is not None:
        gate = _pair(pairing.gate.mT, gate)
    gate = gate * (gate.abs() >= threshold * pairing.top)
    return gate * (error if pool is None else pool.share(error, hidden))


def _pair(matrix: Tensor, error: Tensor, arrived: int | None = None) -> Tensor:
    """M' g over the time of each stream, in the memory layout of `error`.

    Args:
        matrix: M, shape (B, B) or (S, B, B); (E, P) or (S, E, P) in carry mode.
        error: g, shape (R, ...).
        arrived: number of leading rows of M that are not zero; None if unknown.
    """
    streams = as_rows(error).unflatten(0, (-1, matrix.shape[-2]))
    mixed = matrix.mT[..., :arrived] @ streams[:, :arrived]
    return from_rows(mixed.flatten(0, 1), error)


def _arriving(delta: Tensor, arrival: Tensor, arrived: int | None, streams: int) -> Tensor:
    """`delta` times the weight with which it arrives; only the leading rows if the rest is lost."""
    if arrived is not None and streams == 1:
        return delta[:arrived]
    return _weighted(delta, arrival)


def _weighted(rows: Tensor, weights: Tensor) -> Tensor:
    """`rows` (R, ...) times the weights of time steps (B,), or of those of each stream (S, B)."""
    return rows * _repeated(weights, len(rows)).view(-1, *[1] * (rows.dim() - 1))


def _repeated(weights: Tensor, rows: int) -> Tensor:
    """Weights of time steps (B,), or of those of each stream (S, B), for all rows (R,)."""
    return weights.expand(rows // weights.shape[-1], -1).reshape(-1)


def _total(rows: Tensor) -> Tensor:
    """Sum over rows as one row, in float32 or wider."""
    precise = torch.promote_types(rows.dtype, torch.float32)
    return from_rows(as_rows(rows).sum(0, keepdim=True, dtype=precise), rows)


def _summed(rows: Tensor, weights: Tensor | None = None) -> Tensor:
    """As `_total` up to rounding, in two thirds of its time; with weights as in `_weighted`."""
    flat = widened(as_rows(rows))
    if weights is None:
        every = flat.new_ones(1, len(flat))
    else:
        every = _repeated(weights, len(flat)).to(flat.dtype)[None]
    return from_rows(every @ flat, rows)


def _entered(energy: Tensor, least: float, streams: int) -> Tensor:
    """Whether each item's error is large enough for its activity to enter the trace, shape (R,).

    The loss averages over streams, so that errors are divided by their number. This is undone: the
    threshold refers to the mean loss of the stream alone, however streams are split over processes.
    """
    return energy * streams**2 > least
