"""One optimiser step: loss, gradients, clip, guard, update."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from weft.config.family import resolve
from weft.data.source import Batch
from weft.engine.clip import Norms, held
from weft.engine.device import precision, products
from weft.engine.graph import Gradients, Graphed, Replayed
from weft.engine.parts import Parts
from weft.engine.ranks import float_buffers
from weft.errors import NonFiniteError
from weft.task import calls
from weft.task.calls import Scalars
from weft.task.context import Context
from weft.task.schedule import Schedule
from weft.task.task import Task

if TYPE_CHECKING:
    from weft.engine.shard import Shards


class LossModule(nn.Module):
    """A task's loss as a module, so that DistributedDataParallel sees all of it."""

    def __init__(self, task: Task[Any, Any, Any], model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, batch: Batch, ctx: Context) -> tuple[Tensor, Scalars]:
        """The task's loss and scalars."""
        return calls.loss(self.task, self.model, batch, ctx)


class Stepper:
    """Holds what changes from step to step: weights, optimiser, schedule.

    Args:
        parts: of the run.
        model: the bare model, on its device.
    """

    def __init__(self, parts: Parts, model: nn.Module) -> None:
        config = parts.config
        self.task, self.model, self.config, self.ranks = parts.task, model, config, parts.ranks
        self.device = parts.device
        self.shards = _shared_out(parts, model)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimiser: torch.optim.Optimizer = resolve(parts.kind("optim").build)(
            config.optim, calls.param_groups(parts.task, model)
        )
        self.peaks = [float(group["lr"]) for group in self.optimiser.param_groups]
        build_schedule = resolve(parts.kind("schedule").build)
        self.schedule: Schedule = build_schedule(config.schedule, parts.plan.total_steps)
        self.clip = resolve(parts.kind("clip").build)(config.clip)
        # What a forward pass writes, by which a batch that is no number would outlive its step.
        self.statistics = float_buffers(model) if config.engine.nonfinite == "skip" else []
        # Updates left out in a row; on a GPU it stays there until somebody asks.
        self.skips: Tensor | int = 0
        # Updates left out in all.
        self.skipped: Tensor | int = 0
        decay = config.eval.ema
        # A copy, made before anything is compiled or recorded.
        self.mean = None if decay is None else _following(model, decay)
        if config.engine.compile:
            model.compile()
        self.shared: DistributedDataParallel | None = None
        self.loss: Callable[[Batch, Context], tuple[Tensor, Scalars]]
        if self.shards is not None:
            self.loss = self.shards.loss
        elif parts.ranks.world > 1:
            module = LossModule(parts.task, model)
            self.shared = DistributedDataParallel(module, broadcast_buffers=False)
            self.loss = self.shared
        else:
            self.loss = partial(calls.loss, parts.task, model)
        # Evaluation leaves modes as they were, so that they need not be walked through each step.
        model.train()
        self.gradients: Gradients = self._gradients
        if config.engine.graph and self.device.type == "cuda" and parts.ranks.world == 1:
            steps, cut = parts.plan.total_steps, config.engine.accumulation
            context = Replayed(config.seed, 0, steps, self.device, cut, log=False)
            self.gradients = Graphed(self._gradients, model, context)

    @property
    def shown(self) -> nn.Module:
        """The model that is evaluated and kept: that which trains, or the running mean of it; of
        one in pieces, on the first process, the whole."""
        if self.shards is not None and self.shards.whole is not None:
            return self.shards.whole
        return self.model if self.mean is None else self.mean.module

    def settle(self) -> None:
        """Brings what is shown up to date with all processes, every one of which must ask."""
        kept = self.model if self.shards is not None else self.shown
        for model in dict.fromkeys((self.model, kept)):
            self.ranks.average(float_buffers(model))
        if self.shards is not None:
            self.shards.gather()

    def __call__(self, batches: Sequence[Batch], ctx: Context) -> Scalars:
        """Updates the weights by the mean gradient over `batches`.

        Returns:
            Scalars still on the device: the loss, its terms, and the gradient norm if they will be
            recorded.

        Raises:
            NonFiniteError: on the CPU, at once, if `engine.nonfinite` says stop.
        """
        if not self.model.training:
            self.model.train()
        # As `zero_grad`, whose marks for a profiler take as long as a small layer.
        for parameter in self.parameters:
            parameter.grad = None
        before = [buffer.clone() for buffer in self.statistics]
        cut = len(batches) * self.ranks.world
        with products(self.config.engine):
            scalars = self.gradients(batches, ctx if cut == ctx.parts else replace(ctx, parts=cut))
        # As `isinstance(…, Leading)`, which takes as long as a small product.
        leads = getattr(self.schedule, "leads", False)
        if leads:
            self._observe(scalars)
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * self.schedule.factor(ctx.step)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norms = self.clip(gradients or [torch.zeros((), device=self.device)])
        bad = self._update(scalars, norms, ctx)
        for buffer, kept in zip(self.statistics, before, strict=True):
            buffer.copy_(torch.where(torch.as_tensor(bad), kept, buffer))
        if self.mean is not None:
            self.mean.update_parameters(self.model)
        if self.schedule.reacts and not leads:
            self._observe(scalars)
        return {**scalars, "grad_norm": norms.joint} if ctx.log else scalars

    def _observe(self, scalars: Scalars) -> None:
        # The loss of the whole batch, the same on every process: replicas must not differ.
        seen = scalars["loss"].clone()
        self.ranks.average([seen])
        # A step that is skipped says nothing about the rate: as if it had not been.
        if bool(torch.isfinite(seen)):
            self.schedule.observe(float(seen))

    def _gradients(self, batches: Sequence[Batch], ctx: Context) -> Scalars:
        total: Scalars = {}
        for number, batch in enumerate(batches):
            with self._without_sync(last=number == len(batches) - 1):
                with precision(self.config.engine, self.device):
                    loss, terms = self.loss(batch, ctx)
                torch.autograd.backward(loss / len(batches) if len(batches) > 1 else loss)
            for name, value in {"loss": loss, **terms}.items():
                part = value.detach()
                part = part / len(batches) if len(batches) > 1 else part
                total[name] = total[name] + part if name in total else part
        return total

    def _without_sync(self, *, last: bool) -> AbstractContextManager[object]:
        """All but the last part of a batch keep their gradients to themselves."""
        if self.shared is not None and not last:
            return self.shared.no_sync()
        return nullcontext()

    def _update(self, scalars: Scalars, norms: Norms, ctx: Context) -> Tensor | bool:
        """Updates, unless loss or gradients are no numbers.

        Returns: whether the step was left out; on a GPU nobody waits for the answer.
        """
        if self.device.type == "cpu" and self.ranks.world == 1:
            good = math.isfinite(scalars["loss"]) and norms.finite
            self._apply(good, scalars, ctx)
            return not good
        bad = (~(torch.isfinite(scalars["loss"]) & torch.isfinite(norms.joint))).float()
        self.ranks.average([bad])
        fused = any(group.get("fused") for group in self.optimiser.param_groups)
        if self.device.type != "cpu" and fused and self.shards is None:
            # The kernel reads the flag and leaves the weights alone: no wait for the device.
            self.optimiser.found_inf = bad  # type: ignore[attr-defined]
            self.optimiser.step()
            # Where one skip ends the run it is kept until the host looks, whatever follows it.
            stops = self.config.engine.nonfinite == "stop"
            self.skips = self.skips + bad if stops else (self.skips + 1) * bad
            self.skipped = self.skipped if stops else self.skipped + bad
        else:
            self._apply(not bool(bad), scalars, ctx)
        return bad > 0

    def _apply(self, good: bool, scalars: Scalars, ctx: Context) -> None:
        """Updates, if loss and gradients are numbers; else leaves the step out, or stops."""
        if good:
            self.optimiser.step()
            self.skips = 0
            return
        self.skips, self.skipped = self.skips + 1, self.skipped + 1
        self.check_skips(scalars, ctx)

    def check_skips(self, scalars: Scalars, ctx: Context) -> None:
        """Stops the run if updates had to be skipped and the config does not allow (so many).

        Raises:
            NonFiniteError: naming the step and the first offender.
        """
        skips = int(self.skips)
        engine = self.config.engine
        if skips == 0 or (engine.nonfinite == "skip" and skips <= engine.max_skips):
            return
        raise NonFiniteError(
            f"step {ctx.step}: {self._offender(scalars)} is not a finite number",
            where="engine.nonfinite=" + engine.nonfinite,
            hint="the update was not applied, and what was saved before is good\n"
            "engine.nonfinite=skip leaves such updates out",
        )

    def _offender(self, scalars: Scalars) -> str:
        for name, value in scalars.items():
            if not bool(torch.isfinite(value)):
                return f"`{name}`"
        for name, parameter in self.model.named_parameters():
            gradients = [] if parameter.grad is None else held([parameter.grad])
            if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
                return f"the gradient of `{name}`"
        if self.device.type != "cpu":
            return "a loss or gradient since the last row"
        return "the gradient norm"

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold to go on exactly; of weights in pieces all processes must
        ask, and the first one is told."""
        optim = self.optimiser.state_dict()
        if self.shards is not None:
            optim = self.shards.collected(optim)
        trained: dict[str, Any] = {}
        if self.mean is not None:
            trained = {"trained": self.model.state_dict(), "averaged": int(self.mean.n_averaged)}
        return {
            "model": self.shown.state_dict(),
            **trained,
            "optim": optim,
            "schedule": self.schedule.state(),
            "skips": int(self.skips),
            "skipped": int(self.skipped),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""
        optim = state["optim"]
        if self.shards is None:
            self.model.load_state_dict(state.get("trained", state["model"]))
        else:
            self.shards.load(state["model"])
            optim = self.shards.moments(optim, self.optimiser)
        if self.mean is not None:
            self.mean.module.load_state_dict(state["model"])
            self.mean.n_averaged.fill_(state["averaged"])
        self.optimiser.load_state_dict(optim)
        self.schedule.load(state["schedule"])
        self.skips = state["skips"]
        self.skipped = state.get("skipped", 0)  # Not counted before weft told of them.


def _shared_out(parts: Parts, model: nn.Module) -> Shards | None:
    """The model in pieces, where that is asked for and there is more than one process."""
    if not parts.config.engine.shard or parts.ranks.world == 1:
        return None
    from weft.engine.shard import Shards

    return Shards(parts, model, LossModule(parts.task, model))


def _following(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of `model` whose weights become decay * theirs + (1 - decay) * the model's."""

    def follow(means: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor | int) -> None:
        torch._foreach_lerp_(list(means), list(weights), 1 - decay)

    return AveragedModel(model, multi_avg_fn=follow)
