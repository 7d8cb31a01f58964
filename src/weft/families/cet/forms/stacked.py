"""Trains several MLPs that learn by traces at once, with batched matrix products."""

# K members, B time steps of a stream, m of them learnt, I inputs and O outputs of a layer

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from weft.data.source import Batch
from weft.errors import UsageError
from weft.families.cet.figures.report import SIMILARITIES
from weft.families.cet.objective import correct, cross_entropy, largest
from weft.families.cet.sets.stream import StreamSource
from weft.families.cet.task import CetTask
from weft.families.cet.trace.conversion import traced_layers
from weft.families.cet.trace.memory import SLOWEST
from weft.families.cet.trace.rule import Rule
from weft.families.cet.trace.similarity import similarity
from weft.families.cet.trace.traced import TracedConv2d, TracedLinear
from weft.task.context import Context
from weft.task.stack import Stack

Layer = TracedLinear | TracedConv2d


@dataclass(frozen=True)
class Late:
    """The pairings of one layer in all members: which error meets which activity.

    Attributes:
        matrix: M, shape (K, B, B).
        arrival: weight with which each error arrives within the stream, (K, B).
        rule: of the layer; equal in all members except for `covariance`.
        exact: which members learn without delay, bool (K, 1, 1).
        centred: which members learn in the covariance form, bool (K, 1, 1); None if none does.
        gain: lambda / k of those members, 1 of the others, (K, 1, 1).
    """

    matrix: Tensor
    arrival: Tensor
    rule: Rule
    exact: Tensor
    centred: Tensor | None
    gain: Tensor

    @staticmethod
    def of(layers: Sequence[Layer], length: int) -> Late:
        """The pairings of `layers`, one of each member, for streams of `length` steps.

        Raises:
            UsageError: if a layer's gate is smeared or has a threshold.
        """
        device = layers[0].weight.device
        pairings = [layer.trace.pairing(length).to(device, torch.float32) for layer in layers]
        centred = [layer.mean is not None and layer.trace.delay > 0 for layer in layers]
        shares = [
            (layer.rule.covariance or 1.0) / pairing.gain if form else 1.0
            for layer, pairing, form in zip(layers, pairings, centred, strict=True)
        ]
        rules = {replace(layer.rule, covariance=None) for layer in layers}
        if len(rules) > 1 or any(
            pairing.has_own_gate(layer.rule.theta_threshold)
            for layer, pairing in zip(layers, pairings, strict=True)
        ):
            raise UsageError(
                "layers whose gate is smeared or has a threshold cannot be stacked",
            )

        def each(values: Sequence[float | bool]) -> Tensor:
            return torch.tensor(values, device=device).view(-1, 1, 1)

        return Late(
            torch.stack([pairing.matrix for pairing in pairings]),
            torch.stack([pairing.arrival for pairing in pairings]),
            rules.pop(),
            each([layer.trace.delay == 0 for layer in layers]),
            each(centred) if any(centred) else None,
            each(shares),
        )

    def at(self, times: Tensor) -> Late:
        """The pairings for the items at the time steps `times`, int64 (K, m)."""
        member = torch.arange(len(times), device=times.device)[:, None]
        matrix = self.matrix[member[..., None], times[:, :, None], times[:, None, :]]
        return replace(self, matrix=matrix, arrival=self.arrival[member, times])


class Mlps(Stack):
    """MLPs of one shape, each with its own traces; every update is that of `rule.traced`.

    Args:
        models: made by `CetTask.model`.
        tasks: of the members.
        sources: training source of each; members may share one.
    Raises:
        UsageError: if a config asks for something that cannot be stacked.
    """

    def __init__(
        self, models: Sequence[nn.Module], tasks: Sequence[CetTask], sources: Sequence[StreamSource]
    ) -> None:
        self.config = tasks[0].config
        _refuse(tasks)
        layers = [traced_layers(model).values() for model in models]
        by_layer = [list(same) for same in zip(*layers, strict=True)]
        self.names = list(traced_layers(models[0]))
        late = [same for same in by_layer if any(layer.trace.delay > 0 for layer in same)]
        for layer in (layer for same in late for layer in same):
            if layer.mean is not None and layer.mean.value.numel() == 0:
                layer.mean.value = torch.zeros_like(layer.weight[:1])
                layer.mean.batches = layer.mean.batches.new_zeros(1)
        super().__init__(models)
        self.late = [Late.of(same, self.config.batch_size) for same in by_layer]
        self.compared = [
            name
            for name, same in zip(self.names, by_layer, strict=True)
            if self.config.timescale == "behavioural"
            or any(layer.trace.delay > 0 for layer in same)
        ]
        places: dict[int, int] = {}
        parts: list[StreamSource] = []
        for source in sources:
            if id(source) not in places:
                places[id(source)] = sum(map(len, parts))
                parts.append(source)
        self.source = replace(
            parts[0],
            images=torch.cat([part.images for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
        )
        shifts = [places[id(source)] for source in sources]
        self.shifts = torch.tensor(shifts, device=self.source.images.device).view(-1, 1, 1)

    def take(self, indices: Tensor) -> Batch:
        """`image`, (K, B, I), and `label`, (K, B) or (K, B, classes)."""
        # The generator is not used: configs that draw random numbers here are refused.
        batch = self.source.take((indices + self.shifts).flatten(0, 1), torch.default_generator)
        return {"image": batch["image"].flatten(2), "label": batch["label"]}

    def gradients(self, batch: Batch, ctx: Context) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As `CetTask.loss` and a backward pass of each member."""
        config, images, targets = self.config, batch["image"], batch["label"]
        late, all_logits, kept_targets = self.late, None, targets
        if config.top_quantile > 0:
            all_logits = self._forward(images)[-1]
            losses = cross_entropy(all_logits, targets)
            kept = largest(losses, config.kept_items, config.input_accumulation)
            member = torch.arange(len(kept), device=kept.device)[:, None]
            late = [each.at(kept) for each in late]
            images, kept_targets = images[member, kept], targets[member, kept]
        *inputs, logits = self._forward(images)
        error, loss = _error(logits, kept_targets)
        scalars, found = {"loss": loss}, dict[str, Tensor]()
        if ctx.log:
            seen = logits if all_logits is None else all_logits
            scalars["accuracy"] = correct(seen, targets).float().mean(-1)
        compares = config.track_sim and ctx.log and (ctx.step + 1) % config.sim_every == 0
        below, agreement = None, dict[str, Tensor]()
        for name, x, each in reversed([*zip(self.names, inputs, late, strict=True)]):
            hidden = below
            delta = error if hidden is None else _opened(error, hidden)
            made = self._learn(name, each, x, hidden, error, delta, compares=compares)
            found |= {f"{name}.weight": made[0], f"{name}.bias": made[1]}
            if compares and name in self.compared:
                values = zip(SIMILARITIES, made[2].unbind(1), strict=True)
                agreement = {f"{kind}/{name}": value for kind, value in values} | agreement
            if name != self.names[0]:
                error, below = delta @ self.weights[f"{name}.weight"], x
        return scalars | agreement, found

    def _forward(self, x: Tensor) -> list[Tensor]:
        """The input of each layer, and the logits."""
        seen = [x]
        for name in self.names:
            x = torch.baddbmm(self.weights[f"{name}.bias"][:, None], x,
                              self.weights[f"{name}.weight"].mT)  # fmt: skip
            x = x if name == self.names[-1] else functional.relu(x)
            seen.append(x)
        return seen

    def _learn(
        self,
        name: str,
        late: Late,
        x: Tensor,
        hidden: Tensor | None,
        error: Tensor,
        delta: Tensor,
        *,
        compares: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of weight and bias of one layer, and agreement with the true gradient, (K, 3).

        Args:
            name: of the layer.
            late: its pairings.
            x: its input, (K, m, I).
            hidden: output of the ReLU that follows it, (K, m, O), or None.
            error: gradient at the output of the ReLU, (K, m, O).
            delta: gradient at the input of the ReLU, (K, m, O).
            compares: whether the agreement is computed; otherwise the third tensor is undefined.
        """
        rule, matrix = late.rule, late.matrix
        total = late.arrival[:, None] @ delta
        stored = torch.where(late.exact, x, rule.stored(x)) if _cuts(rule) else x
        if rule.sparse is not None:
            enters = torch.linalg.vector_norm(error, dim=-1).square() > rule.sparse
            matrix = matrix * (enters[:, None] | late.exact)
        if hidden is None or rule.gate == "error":
            post = matrix.mT @ delta
        else:
            post = _opened(matrix.mT @ (delta if rule.gate == "both" else error), hidden)
        pre, traces, mean = stored, post, None
        if late.centred is not None:
            mean = self._mean(name, stored, late.centred)
            pre = torch.cat([stored - mean, mean], dim=1)
            post = torch.cat([post * late.gain, total * late.centred], dim=1)
        gradient = post.mT @ pre
        if not compares:
            return gradient, total[:, 0], total
        mean_x, centre = x.mean(1, keepdim=True), stored.mean(1, keepdim=True)
        update_mean = (traces * late.gain).sum(1, keepdim=True).mT @ (
            centre if mean is None else centre - mean
        )
        if mean is not None and late.centred is not None:
            update_mean = update_mean + (total * late.centred).mT @ mean
        true, true_mean = (delta * late.arrival[:, :, None]).mT @ x, total.mT @ mean_x
        products = [
            (left * right).sum((1, 2))
            for u, v in ((gradient, true), (gradient - update_mean, true - true_mean))
            for left, right in ((u, u), (u, v), (v, v))
        ]
        moments = torch.stack(products, dim=1).view(-1, 2, 3)
        return gradient, total[:, 0], similarity(moments)

    def _mean(self, name: str, stored: Tensor, centred: Tensor) -> Tensor:
        """As `RunningMean.advance` for members in the covariance form, 0 for others; (K, 1, I)."""
        value, batches = self.buffers[f"{name}.mean.value"], self.buffers[f"{name}.mean.batches"]
        now = stored.mean(1, keepdim=True)
        before = torch.where(batches[..., None] > 0, value, now) * centred
        batches += centred[..., 0]
        rate = (1 / batches.clamp(min=1)).clamp(min=SLOWEST)[..., None]
        value.copy_(torch.where(centred, before + rate * (now - before), value))
        return before


def stack(
    models: Sequence[nn.Module], tasks: Sequence[CetTask], sources: Sequence[StreamSource]
) -> Mlps:
    """The stack of the members' models."""
    return Mlps(models, tasks, sources)


def _opened(error: Tensor, hidden: Tensor) -> Tensor:
    opened: Tensor = torch.ops.aten.threshold_backward(error, hidden, 0)
    return opened


def _cuts(rule: Rule) -> bool:
    return rule.threshold is not None or rule.binary is not None


@torch.enable_grad()
def _error(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of each member's mean loss by its logits, and the loss, (K,)."""
    logits = logits.detach().requires_grad_()
    loss = cross_entropy(logits, targets).mean(-1)
    (error,) = torch.autograd.grad(loss.sum(), logits)
    return error, loss.detach()


def _refuse(tasks: Sequence[CetTask]) -> None:
    """Raises UsageError for configs whose models cannot be stacked."""
    config = tasks[0].config
    kept = {
        "control": all(type(task) is CetTask for task in tasks),
        "arch": config.arch == "mlp",
        "streams": config.streams == 1,
        "carry": not config.carry,
        "random_times": not config.random_times,
        "data.flip": config.data.flip is not True,
    }
    if wrong := [key for key, holds in kept.items() if not holds]:
        raise UsageError(
            f"models with this {', '.join(f'`{key}`' for key in wrong)} are not stacked",
            expected="MLPs on one stream, without carry, times at random or mirrored items",
        )
