"""Trains the runs of a study of rates in one process: rates, the choice among them, seeds."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft import families
from weft.api import configure
from weft.errors import NonFiniteError, UsageError

if TYPE_CHECKING:
    from weft.data.source import Splits
    from weft.engine.loop import Trainer
    from weft.engine.parts import Parts
    from weft.task.metric import Metric


@dataclass(frozen=True)
class Setting:
    """A cell of the table.

    Attributes:
        form: name of its column.
        point: its row, as axis -> value.
        words: of its runs, as for `weft train`, without rate and seed.
    """

    form: str
    point: Mapping[str, str]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """How cells are trained, chosen and tested.

    A cell is trained at every rate with seed 0, and the rate with the best validation is chosen. If
    that is the first or last one, rates beyond it are tried, spaced as the grid is. Then the other
    seeds are trained at the chosen rate, and every seed is tested once, and also measured on
    validation data if there are any.

    Attributes:
        key: the option that is the rate.
        rates: to choose from, as typed; if empty, the cells' own words set the rate.
        further: number of rates tried beyond an end of the grid that is best.
        seeds: number of seeds.
        final: overrides of the config under which the chosen runs are evaluated.
        out: file that gets a line for every run as soon as it is finished.
    """

    key: str
    rates: tuple[str, ...]
    further: int
    seeds: int
    final: tuple[str, ...]
    out: Path

    def own_rate(self, setting: Setting) -> bool:
        """Whether the rate of a cell is not searched: its words set it, or no rates are given."""
        return not self.rates or any(
            word.partition("=")[0] == self.key for word in setting.words[1:]
        )

    def run(self, setting: Setting) -> None:
        """Trains and tests a cell."""
        if self.own_rate(setting):
            runs, inside = self._trained(setting, [("", seed) for seed in range(self.seeds)]), True
        else:
            best, inside = self._searched(setting)
            others = [(best.rate, seed) for seed in range(1, self.seeds)]
            runs = [best, *self._trained(setting, others)]
        for run in runs:
            if not run.validated and run.trainer.data.val is not None:
                run.validate()
            self._tell(setting, run, chosen=True, inside=inside, **run.tested(self.final))

    def _searched(self, setting: Setting) -> tuple[Run, bool]:
        """The best run of seed 0, and whether its rate has a worse one on either side."""
        runs: list[Run] = []
        rates, left = list(self.rates), self.further
        while rates:
            for run in self._trained(setting, [(rate, 0) for rate in rates]):
                run.validate()
                self._tell(setting, run, chosen=False)
                runs.append(run)
            beyond = _beyond(runs)
            rates, left = [beyond] if beyond is not None and left else [], left - 1
        return _best(runs), beyond is None

    def _trained(self, setting: Setting, which: Sequence[tuple[str, int]]) -> list[Run]:
        """Trains runs at the given (rate, seed) pairs."""
        made: list[Run] = []
        loaded: dict[str, Splits[Any]] = {}
        for rate, seed in which:
            words = (*setting.words, f"seed={seed}", *([f"{self.key}={rate}"] if rate else []))
            made.append(Run(rate, seed, words, _trainer(words, loaded)))
            if rate and made[-1].trainer.data.val is None:
                raise UsageError(
                    "a rate is chosen on validation data, and this recipe has none",
                    where=" ".join(setting.words),
                    hint="hold some out (`weft config show` has the options), or give forms a rate",
                )
        seconds = _train([run.trainer for run in made]) if made else 0.0
        for run in made:
            run.seconds = seconds / len(made)
        return made

    def _tell(self, setting: Setting, run: Run, **more: Any) -> None:
        row = {
            "form": setting.form,
            **setting.point,
            "selects": run.selects.name,
            "better": run.selects.better,
            "rate": run.rate,
            "seed": run.seed,
            "steps": run.trainer.parts.plan.total_steps,
            "step_ms": 1e3 * run.seconds / run.trainer.parts.plan.total_steps,
            **run.validated,
            **more,
        }
        with self.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
        print(" ".join(f"{key}={value}" for key, value in shown.items()), flush=True)


@dataclass
class Run:
    """A run of a cell.

    Attributes:
        rate, seed: of the run; the rate is "" if the words set it.
        words: all words of its config.
        trainer: holds its model.
        seconds: time of its steps; runs that were trained together share it equally.
        validated: metrics on validation data.
        value: the selecting metric, lower is better; infinite for a run that failed.
    """

    rate: str
    seed: int
    words: tuple[str, ...]
    trainer: Trainer
    seconds: float = 0.0
    validated: dict[str, float] = field(default_factory=dict)
    value: float = math.inf

    @property
    def selects(self) -> Metric:
        """The metric that a rate is chosen by."""
        return self.trainer.parts.task.metrics[0]

    @property
    def failed(self) -> bool:
        """Whether an update was skipped because of NaN, so that the run's result is void."""
        return int(self.trainer.stepper.skips) > 0

    def validate(self) -> None:
        """Measures the metrics that a rate is chosen by."""
        found = self._measured(self.trainer.parts, "val")
        self.validated = {name: value for name, value in found.items() if "step" not in name}
        value = found[f"val/{self.selects.name}"]
        if math.isfinite(value):
            self.value = value if self.selects.better == "lower" else -value

    def tested(self, overrides: Sequence[str]) -> dict[str, float]:
        """Metrics on the test split, under overrides of the config."""
        parts = _parts((*self.words, *overrides)) if overrides else self.trainer.parts
        return self._measured(parts, "test")

    def _measured(self, parts: Parts, split: str) -> dict[str, float]:
        """Metrics on a split; NaN for a run that failed."""
        from weft.engine.loop import evaluate

        model, data = self.trainer.stepper.model, self.trainer.data
        found = evaluate(parts, model, data, split, parts.plan.total_steps)
        return dict.fromkeys(found, math.nan) if self.failed else found


def _parts(words: Sequence[str]) -> Parts:
    from weft.data.own import settled
    from weft.engine.parts import Parts

    config = settled(configure(*words).config)
    return Parts.of(families.find(config.family), config)


def _trainer(words: Sequence[str], loaded: dict[str, Splits[Any]]) -> Trainer:
    """A trainer that writes no files. Runs that differ only in `optim` share their data."""
    from weft.engine.loop import Trainer
    from weft.engine.step import Stepper

    parts = _parts(words)
    same = {key: value for key, value in parts.config.plain().items() if key != "optim"}
    key = json.dumps(same, sort_keys=True, default=str)
    if key not in loaded:
        loaded[key] = parts.data()
    stepper = Stepper(parts, parts.model(data=loaded[key]))
    return Trainer(parts, loaded[key], stepper, None, None)


def _train(trainers: Sequence[Trainer]) -> float:
    """Takes all steps of runs of equal length in turns, and returns the seconds it took.

    A run whose loss is NaN ends, and the others go on. On a GPU each run has its own stream, so
    that small kernels of several runs overlap.
    """
    import torch

    streams: list[AbstractContextManager[object]] = [nullcontext() for _ in trainers]
    device = trainers[0].parts.device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        streams = [torch.cuda.stream(torch.cuda.Stream(device)) for _ in trainers]
    began = time.perf_counter()
    running = [trainer.steps() for trainer in trainers]
    going = True
    while going:
        going = False
        for steps, stream in zip(running, streams, strict=True):
            with stream, suppress(NonFiniteError):
                going |= next(steps, None) is not None
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _best(runs: Sequence[Run]) -> Run:
    return min(runs, key=lambda run: run.value)


def _beyond(runs: Sequence[Run]) -> str | None:
    """The next rate beyond the end of the grid, if the best rate is at an end; else None."""
    rates, best = sorted((run.rate for run in runs), key=float), _best(runs).rate
    if len(rates) < 2 or best not in (rates[0], rates[-1]):
        return None
    end, inner = rates[:2] if best == rates[0] else rates[:-3:-1]
    return f"{float(end) ** 2 / float(inner):.1g}"
