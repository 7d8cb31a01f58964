"""A growth curve: steps of a recipe at several sizes, timed in turns, and the fitted exponent."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from weft import families
from weft.atomic import replacing
from weft.config.family import resolve
from weft.config.load import load
from weft.data.own import settled
from weft.engine.loop import Progress, Trainer
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.engine.together import Member, Together
from weft.errors import UsageError
from weft.run.parents import find_parents
from weft.run.together import stackable
from weft.sweeps.grid import points
from weft.sweeps.space import parse
from weft.task import calls

RUNS = "runs"
"""The axis that is not an option: the number of models, of seeds 0, 1, …, trained as one stack."""

_WARM_UP = 2
_BLOCK_SECONDS = 0.005
_FEWEST = 3

Step = Callable[[], object]


@dataclass(frozen=True)
class Curve:
    """What is varied.

    Attributes:
        family: whose recipe it is.
        about: what the axis is, in words.
        key: the option that is varied, or `runs`.
        sizes: its values, ascending, each with the words of its config.
        expected: exponent of the cost for sizes at which the overhead of a step no longer counts.
    """

    family: str
    about: str
    key: str
    sizes: Mapping[float, tuple[str, ...]]
    expected: float | None = None

    @staticmethod
    def of(family: str, about: str, words: Sequence[str], expected: float | None) -> Curve:
        """The curve for the words of a recipe and of one axis with ascending numbers.

        Raises:
            UsageError: if there is no such axis.
        """
        space = parse(words)
        if len(space.axes) != 1:
            raise UsageError(
                f"a curve has one axis, not {len(space.axes)}",
                where=" ".join(words),
                expected="one option with several numbers, such as batch_size=32,64,128",
            )
        (key, values), *_ = space.axes.items()
        try:
            numbers = [float(value) for value in values]
        except ValueError:
            numbers = []
        if not numbers or numbers[0] <= 0 or sorted(set(numbers)) != numbers:
            raise UsageError(
                f"`{key}` does not grow", where=" ".join(words), expected="growing positive numbers"
            )
        sizes = {
            number: tuple(w for w in point.overrides if not w.startswith(f"{RUNS}="))
            for number, point in zip(numbers, points(space), strict=True)
        }
        return Curve(family, about or key, key, sizes, expected)


@dataclass(frozen=True)
class Measured:
    """A curve with the median time of a step at each size."""

    curve: Curve
    milliseconds: Mapping[float, float]

    def exponent(self, last: int = 0) -> float:
        """Least-squares slope of log time over log size, of the `last` points or (0) of all."""
        found = list(self.milliseconds.items())[-last:]
        x, y = ([math.log(pair[side]) for pair in found] for side in (0, 1))
        return statistics.linear_regression(x, y).slope


def measured(curve: Curve, seconds: float) -> Measured:
    """Times the curve's steps in turns, so that a slow moment of the machine falls on all sizes.

    Args:
        curve: what is varied.
        seconds: time for all sizes, after their first steps; each has at least three windows.
    """
    made = {size: _step_of(curve, size) for size in curve.sizes}
    with torch.random.fork_rng(devices=()):
        for step in made.values():
            for _ in range(_WARM_UP):
                step()
        block = {size: max(1, int(_BLOCK_SECONDS / _timed(step, 1))) for size, step in made.items()}
        times: dict[float, list[float]] = {size: [] for size in made}
        end = time.monotonic() + seconds
        while len(next(iter(times.values()))) < _FEWEST or time.monotonic() < end:
            for size, step in made.items():
                times[size].append(_timed(step, block[size]))
    return Measured(curve, {size: 1e3 * statistics.median(found) for size, found in times.items()})


def _timed(step: Step, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / count


def _step_of(curve: Curve, size: float) -> Step:
    """A training step of the curve at one size, with its own batches."""
    words = curve.sizes[size]
    if curve.key != RUNS:
        return partial(next, _trainer(words).rehearse())
    seeds = [(*words, f"seed={seed}") for seed in range(int(size))]
    stacking = stackable([load(each, families, {}) for each in seeds])
    trainers = [_trainer(each) for each in seeds]
    stack = resolve(stacking.build)(
        [trainer.stepper.model for trainer in trainers],
        [trainer.parts.task for trainer in trainers],
        [trainer.data.train for trainer in trainers],
    )
    together = Together(stack, [Member(trainer, Progress()) for trainer in trainers])
    return partial(next, _stacked(together))


def _stacked(together: Together) -> Iterator[object]:
    """Repeats the first epoch's steps of all members without end."""
    plans = []
    for trainer in (member.trainer for member in together.members):
        parts, source = trainer.parts, trainer.data.train
        count = parts.plan.batches_per_epoch
        plans.append(torch.stack([*calls.plan(parts.task, source, parts.config.seed, 0, count)]))
    batches = torch.stack(plans, dim=1).to(together.device)
    while True:
        for step, indices in enumerate(batches[: together.parts.plan.total_steps]):
            yield together(indices, step, False)


def _trainer(words: tuple[str, ...]) -> Trainer:
    asked = load(words, families, {})
    config = settled(asked.config)
    parts = Parts.of(families.find(config.family), config)
    data = parts.data()
    stepper = Stepper(parts, parts.model(find_parents(config, asked.origin), data))
    return Trainer(parts, data, stepper, None, None)


def draw(found: Sequence[Measured], path: Path) -> None:
    """Draws a panel for each curve: measured times, and the expected slope through the last."""
    from matplotlib.figure import Figure

    from weft.plots.axes import label_axes
    from weft.plots.style import DOTTED, MUTED, style

    across = min(3, len(found))
    down = -(-len(found) // across)
    with style():
        figure = Figure(figsize=(2.9 * across, 2.3 * down))
        for place, each in enumerate(found):
            axes = figure.add_subplot(down, across, place + 1)
            sizes, times = zip(*each.milliseconds.items(), strict=True)
            if (expected := each.curve.expected) is not None:
                ideal = [times[-1] * (size / sizes[-1]) ** expected for size in sizes]
                axes.plot(sizes, ideal, color=MUTED, linestyle=DOTTED)
            axes.plot(sizes, times, marker="o", color="C0")
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
            # At least a decade, so that a flat curve looks flat.
            low, high = min(times) / 1.6, max(times) * 1.6
            axes.set_ylim(low, max(high, 10 * low))
            ends = [times[-1]] if max(times) < 1.5 * min(times) else [times[0], times[-1]]
            axes.set_yticks(ends, [f"{time:.3g}" for time in ends])
            axes.set_xticks([], minor=True)
            axes.set_yticks([], minor=True)
            label_axes(axes, each.curve.family, each.curve.about, "" if place % across else "ms")
            told = f"{each.exponent(2):.2f}" + (
                f" for {expected:g}" if expected is not None else ""
            )
            axes.text(0.04, 0.95, told, transform=axes.transAxes, va="top", color=MUTED)
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix.removeprefix(".") or "svg")
