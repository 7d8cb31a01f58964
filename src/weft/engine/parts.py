"""What a run is made of, built once: config, task, data spec, device, processes, lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from weft.config.base import FamilyConfig
from weft.config.cadence import cadence_in_steps, span_of
from weft.config.family import Family
from weft.config.kinds import Kind
from weft.config.recipe import kind_of
from weft.data.random import derive
from weft.data.remarks import collecting
from weft.data.source import DataSpec, Splits
from weft.data.used import noting
from weft.engine.device import choose_device, prepare_cpu, prepare_gpu, using_threads
from weft.engine.identity import Identity, identity
from weft.engine.isolation import keep_generator
from weft.engine.ranks import Ranks, check_split
from weft.errors import ConfigError
from weft.task import calls
from weft.task.context import Context
from weft.task.load import load_task
from weft.task.parent import Parent
from weft.task.task import Task


@dataclass(frozen=True)
class Plan:
    """Lengths of a run in optimiser steps; `histograms_every` is 0 for none."""

    total_steps: int
    batches_per_epoch: int
    log_every: int
    eval_every: int
    save_every: int
    histograms_every: int = 0

    @staticmethod
    def of(config: FamilyConfig, batches_per_epoch: int) -> Plan:
        """All lengths of `config` in optimiser steps."""
        total = config.steps or max(1, round((config.epochs or 0.0) * batches_per_epoch))
        return Plan(
            total,
            batches_per_epoch,
            config.log.every,
            cadence_in_steps(config.eval.every, batches_per_epoch),
            cadence_in_steps(config.checkpoint.every, batches_per_epoch),
            cadence_in_steps(told, batches_per_epoch) if (told := config.log.histograms) else 0,
        )

    def due(self, every: int, done: int) -> bool:
        """Whether what happens every `every` steps, and after the last, is due when `done` steps
        are done."""
        return done % every == 0 or done == self.total_steps


@dataclass(frozen=True)
class Parts:
    """What training, evaluation and sampling share.

    Attributes:
        family: of the run.
        config: of the run.
        task: the family's task for this config.
        spec: of the data, from its headers.
        device: where the model lives.
        ranks: this process among those that share each batch.
        plan: lengths in steps.
        files: data files read so far, name -> SHA-256.
        remarks: what readers did to the data that a user should know.
        threads: CPU threads of steps and evaluations; None leaves them to torch.
    """

    family: Family
    config: FamilyConfig
    task: Task[Any, Any, Any]
    spec: DataSpec
    device: torch.device
    ranks: Ranks
    plan: Plan
    files: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    threads: int | None = None

    @staticmethod
    def of(family: Family, config: FamilyConfig, ranks: Ranks | None = None) -> Parts:
        """Chooses the device and reads the data's headers.

        Raises:
            DeviceError: if the device is absent, or the batch cannot be split as asked.
            ConfigError: if an option waits for held-out data and there are none, or
                `engine.profile` names steps that the run does not take.
        """
        prepare_cpu()
        device = choose_device(config.engine)
        keep_generator(device)
        if device.type == "cuda":
            prepare_gpu()
        task = load_task(family, config)
        files: dict[str, str] = {}
        remarks: list[str] = []
        with noting(files), collecting(remarks):
            spec = calls.spec(task)
        _check_held_out(config, spec)
        ranks = ranks or Ranks()
        parts_of_batch = config.engine.accumulation
        check_split(family.split(config), spec.batch_shape[0], parts_of_batch, ranks)
        plan = Plan.of(config, spec.batches_per_epoch)
        _check_profile(config, plan)
        threads = config.engine.threads
        return Parts(family, config, task, spec, device, ranks, plan, files, remarks, threads)

    def model(
        self, parents: Mapping[str, Parent] | None = None, data: Splits[Any] | None = None
    ) -> nn.Module:
        """The model as the run's seed initialises it, moved to the device.

        It is built on the CPU, so that every device starts from the same numbers.

        Args:
            parents: earlier runs it starts from; None if a checkpoint will be loaded.
            data: the run's sources, on the device, for `Task.prime`; None if a checkpoint will be
                loaded.
        """
        torch.default_generator.manual_seed(derive(self.config.seed, "init"))
        model = calls.model(self.task, self.spec)
        given = dict(parents or {})
        start = given.pop("init", None)
        with torch.no_grad(), using_threads(self.config.engine.threads):
            if given:
                self.task.adopt(model, given)
            if start is not None:
                start.fill(model)
            model = model.to(self.device)
            if data is not None:
                self.task.prime(model, data)
        return model

    def data(self) -> Splits[Any]:
        """The sources, on the device."""
        threads = using_threads(self.config.engine.threads)
        with threads, noting(self.files), collecting(self.remarks):
            return calls.data(self.task, self.device)

    def identity(self) -> Identity:
        """The run's identity; of the data, the files read so far."""
        return identity(self.config.plain(), self.files)

    def context(self, step: int, *, log: bool = True) -> Context:
        """The context that the task gets at `step`, for a whole batch."""
        return Context(self.config.seed, step, self.plan.total_steps, self.device, log=log)

    def kind(self, section: str) -> Kind:
        """The chosen branch of `optim`, `schedule` or `clip`."""
        return kind_of(self.family, section, getattr(self.config, section).kind)


def _check_held_out(config: FamilyConfig, spec: DataSpec) -> None:
    """Refuses options that need a validation split where there is none.

    Raises:
        ConfigError: naming the options.
    """
    waits = {
        "eval.patience": config.eval.patience is not None,
        "schedule.kind=held_out": config.schedule.kind == "held_out",
    }
    if any(waits.values()) and not spec.sizes.get("val"):
        raise ConfigError(
            "these options need held-out data, and nothing is held out",
            where=", ".join(key for key, set_ in waits.items() if set_),
            expected="a validation split",
            hint="hold a part of the data out, or leave these options alone",
        )


def _check_profile(config: FamilyConfig, plan: Plan) -> None:
    """Raises: ConfigError if `engine.profile` names steps that the run does not take."""
    span = config.engine.profile
    if span is not None and span_of(span)[1] > plan.total_steps:
        raise ConfigError(
            f"the run takes {plan.total_steps:,} steps",
            where=f"engine.profile={span}",
            expected=f"steps up to {plan.total_steps}",
        )
