"""Trains the runs of a stack as one: a common step and optimiser, a record for each run."""

# K members

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import torch
from torch import Tensor

from weft.config.base import FamilyConfig
from weft.config.family import resolve
from weft.config.sections import NormClip
from weft.engine.device import products, using_threads
from weft.engine.loop import Progress, Trainer, Window
from weft.errors import NonFiniteError, UsageError
from weft.nn.recording import uncollected
from weft.stopping import CutShort, Stop, graceful_stop
from weft.task import calls
from weft.task.context import Context
from weft.task.stack import Stack

_FIRST = 3
"""Ordinary steps before one is recorded as a CUDA graph: libraries initialise in them."""

_WRITERS = 8
"""Members that are saved at a time: saving mostly waits for the disk."""


@dataclass
class Member:
    """A run that is trained together with others.

    Attributes:
        trainer: of the run; its model and optimiser state are filled in before an evaluation or a
            checkpoint (`Together.hand_out`).
        progress: how far it is.
        failure: the error that ended it before the others, if any.
    """

    trainer: Trainer
    progress: Progress
    failure: NonFiniteError | None = None

    @property
    def rate(self) -> tuple[float, ...]:
        """Peak learning rate and weight decay: what may differ between members."""
        group = self.trainer.stepper.optimiser.param_groups[0]
        return self.trainer.stepper.peaks[0], float(group["weight_decay"])


class Together:
    """Takes the steps of all members at once.

    The gradients of each member are clipped by their own norm. Members of equal rate and decay are
    neighbours, and their slices of every tensor form one parameter group. The optimiser must be
    entrywise, so that NaN in one member never reaches another; `bad` counts such steps.

    Args:
        stack: the members' models as one.
        members: with those of equal rate and decay next to each other.
    """

    def __init__(self, stack: Stack, members: Sequence[Member]) -> None:
        self.stack, self.members = stack, members
        first = members[0].trainer
        self.parts, self.config = first.parts, first.parts.config
        self.device, self.clip = first.parts.device, first.parts.config.clip
        self.weights = list(stack.weights.values())
        self.gradients = [torch.zeros_like(weight) for weight in self.weights]
        self.bad = torch.zeros(len(members), device=self.device)
        self.slices: list[slice] = []
        groups, place = [], 0
        for (rate, decay), equal in groupby(members, lambda member: member.rate):
            part = slice(place, place := place + len(list(equal)))
            params = [weight[part] for weight in self.weights]
            for param, gradient in zip(params, self.gradients, strict=True):
                param.grad = gradient[part]
            self.slices.append(part)
            groups.append({"params": params, "lr": rate, "weight_decay": decay})
        build = resolve(self.parts.kind("optim").build)
        self.optimiser: torch.optim.Optimizer = build(self.config.optim, groups)
        self._gather()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.records = self.config.engine.graph and self.device.type == "cuda"
        self.taken = 0
        if self.records:
            self.table = torch.tensor(
                [self._rates(step) for step in range(self.parts.plan.total_steps)],
                device=self.device,
            )
            self.rates = self.table[0].clone()
            for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
                group["lr"] = rate

    def __call__(self, indices: Tensor, step: int, log: bool) -> dict[str, Tensor]:
        """One step of every member.

        Args:
            indices: the index batch of each member, (K, ...), on the device.
            step: optimiser steps done so far.
            log: whether the scalars will be read.

        Returns: scalars by name, each (K,), on the device.
        """
        self._set_rates(step)
        ctx = self.parts.context(step, log=log)
        if not self.records or log or self.taken < _FIRST:
            self.taken += not log
            return self._step(indices, ctx)
        return self._replayed(indices, ctx)

    def _replayed(self, indices: Tensor, ctx: Context) -> dict[str, Tensor]:
        if self.graph is None:
            self.indices = indices.clone()
            self.graph = torch.cuda.CUDAGraph()
            self._say_captured(True)
            with uncollected(), torch.cuda.graph(self.graph):
                self.scalars = self._step(self.indices, ctx)
            self._say_captured(False)
        self.indices.copy_(indices)
        self.graph.replay()
        return self.scalars

    def _say_captured(self, now: bool) -> None:
        """Tells torch's optimiser whether its step is being recorded."""
        for group in self.optimiser.param_groups:
            group["capturable"] = now

    @torch.no_grad()
    def _step(self, indices: Tensor, ctx: Context) -> dict[str, Tensor]:
        with products(self.config.engine):
            scalars, found = self.stack.gradients(self.stack.take(indices), ctx)
        made = [found[name] for name in self.stack.weights]
        norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in made]
        norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        good = torch.isfinite(scalars["loss"]) & torch.isfinite(norm)
        self.bad += (~good).float()
        share = torch.ones_like(norm)
        if isinstance(self.clip, NormClip):
            share = (self.clip.max_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient, kept in zip(made, self.gradients, strict=True):
            along = (-1, *[1] * (gradient.dim() - 1))
            torch.mul(gradient, share.view(along), out=kept)
        self.optimiser.step()
        return {**scalars, "grad_norm": norm}

    def _rates(self, step: int) -> list[float]:
        """The learning rate of each parameter group at a step."""
        firsts = [self.members[part.start] for part in self.slices]
        factors = [member.trainer.stepper.schedule.factor(step) for member in firsts]
        return [member.rate[0] * factor for member, factor in zip(firsts, factors, strict=True)]

    def _set_rates(self, step: int) -> None:
        if self.records:
            self.rates.copy_(self.table[step])
            return
        for group, rate in zip(self.optimiser.param_groups, self._rates(step), strict=True):
            group["lr"] = rate

    def hand_out(self, step: int) -> None:
        """Copies weights, optimiser state and learning rate into the members' own objects."""
        self.stack.hand_out()
        for part, group in zip(self.slices, self.optimiser.param_groups, strict=True):
            states = [self.optimiser.state[param] for param in group["params"]]
            for place in range(part.start, part.stop):
                stepper = self.members[place].trainer.stepper
                own = stepper.optimiser.state
                names = dict(stepper.model.named_parameters())
                for name, state in zip(self.stack.weights, states, strict=True):
                    whole = self.stack.weights[name][part].shape
                    own[names[name]] = {
                        key: (value[place - part.start] if value.shape == whole else value).clone()
                        for key, value in state.items()
                    }
                factor = stepper.schedule.factor(step)
                stepper.optimiser.param_groups[0]["lr"] = stepper.peaks[0] * factor

    def _gather(self) -> None:
        """Takes over the members' optimiser states, which a loaded checkpoint has filled."""
        for part, group in zip(self.slices, self.optimiser.param_groups, strict=True):
            steppers = [member.trainer.stepper for member in self.members[part]]
            names = [dict(stepper.model.named_parameters()) for stepper in steppers]
            for name, param in zip(self.stack.weights, group["params"], strict=True):
                states = [
                    stepper.optimiser.state.get(known[name], {})
                    for stepper, known in zip(steppers, names, strict=True)
                ]
                for key, value in states[0].items():
                    alike = value.shape == param.shape[1:]
                    self.optimiser.state[param][key] = (
                        torch.stack([state[key] for state in states]) if alike else value.clone()
                    )

    def bad_members(self) -> list[Member]:
        """Members that had a NaN or infinite loss or gradient so far; waits for the device."""
        counted = zip(self.members, self.bad.tolist(), strict=True)
        return [member for member, times in counted if times]


def refuse_unstackable(config: FamilyConfig) -> None:
    """Refuses options that a stack does not support.

    Raises:
        UsageError: naming all of them.
    """
    engine = config.engine
    wrong = {
        f"optim.kind={config.optim.kind}": config.optim.kind not in ("sgd", "adam", "adamw"),
        f"schedule.kind={config.schedule.kind}": config.schedule.kind not in ("constant", "cosine"),
        f"clip.kind={config.clip.kind}": config.clip.kind not in ("none", "norm"),
        "eval.patience": config.eval.patience is not None,
        "eval.ema": config.eval.ema is not None,
        "log.histograms": bool(config.log.histograms),
        "engine.precision=bf16": engine.precision == "bf16",
        f"engine.accumulation={engine.accumulation}": engine.accumulation > 1,
        "engine.nonfinite=skip": engine.nonfinite == "skip",
        "engine.compile=true": engine.compile,
        "engine.profile": engine.profile is not None,
    }
    if found := [name for name, holds in wrong.items() if holds]:
        raise UsageError(f"a stack cannot be trained with {', '.join(found)}")


def train_together(together: Together) -> str:
    """Trains all members, which stand at the same step, to the end.

    They log, evaluate and save at the same steps, and all save when one of them has improved. Each
    member's `seconds` is an equal share of the time.

    Returns: "finished", or the name of the signal that interrupted them after a saved step. A
        member that failed has its `failure` set; it is computed on, but no longer logged,
        evaluated or saved.
    """
    members, parts = together.members, together.parts
    plan, lead, count = parts.plan, members[0].progress, len(members)
    started = time.perf_counter() - lead.seconds * count
    window, planned = Window(), -1
    with (
        graceful_stop() as stop,
        using_threads(parts.threads),
        ThreadPoolExecutor(_WRITERS) as writers,
        _Plans(together) as plans,
    ):
        if any(member.progress.pending for member in members):
            if _evaluate(members, stop) or stop.name:
                list(writers.map(lambda m: m.trainer.save(m.progress), members))
            if stop.name:
                return stop.name
        while lead.step < plan.total_steps:
            epoch, position = divmod(lead.step, plan.batches_per_epoch)
            if epoch != planned:
                batches, planned = plans.of(epoch), epoch
            done = lead.step + 1
            log, evaluated = plan.due(plan.log_every, done), plan.due(plan.eval_every, done)
            scalars = together(batches[position].index_select(0, plans.which), lead.step, log)
            window.count += 1
            for member in members:
                member.progress.step = done
                member.progress.seconds = (time.perf_counter() - started) / count
            interrupted, saves = stop.name, plan.due(plan.save_every, done)
            if not (log or evaluated or saves or interrupted):
                continue
            living = _living(together, done)
            if not living:
                break
            if log:
                _tell(together, scalars, window)
            if evaluated or saves or interrupted:
                together.hand_out(done - 1)
            if evaluated:
                for member in living:
                    member.progress.pending = True
                saves |= _evaluate(living, stop)
                interrupted = stop.name
            if saves or interrupted:
                list(writers.map(lambda m: m.trainer.save(m.progress), living))
            if interrupted:
                return interrupted
            if evaluated:
                window.restart()
    return stop.name or "finished"


class _Plans:
    """The index batches of an epoch, on the device; a thread prepares those of the next one.

    Attributes:
        which: the plan that each member takes, (K,): members of one seed and source share one.
    """

    def __init__(self, together: Together) -> None:
        self.device = together.device
        trainers = [member.trainer for member in together.members]
        keys = [(trainer.parts.config.seed, id(trainer.data.train)) for trainer in trainers]
        firsts = dict(zip(keys, trainers, strict=True))
        # On the CPU: while a graph is recorded, no other thread may ask the device for anything.
        here = torch.device("cpu")
        self.planners = [
            (trainer.parts, trainer.data.train.to(here)) for trainer in firsts.values()
        ]
        order = list(firsts)
        self.which = torch.tensor([order.index(key) for key in keys], device=self.device)
        self.worker = ThreadPoolExecutor(1)
        self.next: tuple[int, Future[Tensor]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.shutdown(cancel_futures=True)

    def of(self, epoch: int) -> Tensor:
        """The plans of an epoch, (steps, D, ...) for D different plans."""
        if self.next is None or self.next[0] != epoch:
            self.next = epoch, self.worker.submit(self._planned, epoch)
        found = self.next[1].result().to(self.device)
        self.next = epoch + 1, self.worker.submit(self._planned, epoch + 1)
        return found

    def _planned(self, epoch: int) -> Tensor:
        plans = []
        for parts, source in self.planners:
            count = parts.plan.batches_per_epoch
            planned = calls.plan(parts.task, source, parts.config.seed, epoch, count)
            plans.append(torch.stack([*planned]))
        return torch.stack(plans, dim=1)


def _living(together: Together, done: int) -> list[Member]:
    """The members that go on; the failure of the others is recorded."""
    for member in together.bad_members():
        member.failure = member.failure or NonFiniteError(
            f"step {done} or one before: the loss or a gradient is not a finite number",
            where="a member of a stack",
            hint="what was saved before is good; a run of its own says which number it is",
        )
    return [member for member in together.members if member.failure is None]


def _evaluate(members: Sequence[Member], stop: Stop) -> bool:
    """Evaluates the members whose evaluation is pending, until a signal interrupts it.

    Returns: whether any of them improved.
    """
    improved = False
    with suppress(CutShort):
        for member in members:
            if member.progress.pending:
                improved |= member.trainer.evaluate(member.progress, stop)
    return improved


def _tell(together: Together, scalars: Mapping[str, Tensor], window: Window) -> None:
    """Fetches the scalars in one transfer and writes each member's row."""
    rows = torch.stack([value.float() for value in scalars.values()], dim=1).tolist()
    milliseconds = window.milliseconds()
    for member, row in zip(together.members, rows, strict=True):
        if member.failure is None:
            stepper, progress = member.trainer.stepper, member.progress
            rate = stepper.peaks[0] * stepper.schedule.factor(progress.step - 1)
            values = dict(zip(scalars, row, strict=True))
            member.trainer.tell(progress, values, rate, milliseconds)
    window.restart()
