"""Trains feedback and its controls on one budget and prints one table: does the writing pay?"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.errors import Interrupted, RunError, UsageError
from weft.papers import script
from weft.reports.tables import Cell, Column, Mean, Table, mean_of, rich_table
from weft.terminal import show, show_table, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from weft.run.registry import Run
    from weft.sweeps.grid import Point
    from weft.sweeps.pool import Outcome

ARMS: Mapping[str, tuple[str, ...]] = {
    "fine-tune-attn": ("stage=fine_tune", "scope=attn"),
    "fine-tune-all": ("stage=fine_tune", "scope=all"),
    "self-conditioned": ("stage=fine_tune", "scope=all", "self_condition=true"),
    "static": ("stage=static",),
    "original": ("stage=feedback", "mode=compat", "generator=tokens", "feedback_source=tokens"),
    "tokens": ("stage=feedback", "generator=tokens", "feedback_source=tokens"),
    "hidden": ("stage=feedback", "generator=latent", "feedback_source=hidden"),
    "outer": ("stage=feedback", "generator=outer", "feedback_source=hidden"),
    "outer+fine-tune-all": (
        "stage=feedback",
        "generator=outer",
        "feedback_source=hidden",
        "joint=true",
        "scope=all",
    ),
}
"""What is compared: what each sets beyond the recipe that all share."""

OWN_RATES: Mapping[str, tuple[str, ...]] = {"original": ("3e-4",)}
"""Arms whose rate is not looked for: raw deltas are unstable far above the rate they came with."""

STEPS, FLOPS = "steps", "FLOPs"
_JUDGE = "val/loss"


@dataclass(frozen=True)
class Study:
    """What is compared, and on what budget.

    Attributes:
        words: recipe and `key=value` of all arms; the budget is what they spend as they are.
        base: those of the base.
        arms: keys of `ARMS`.
        control: the arm that the others' losses are compared with.
        rates: learning rates; each arm not in `OWN_RATES` takes its best on the first seed's
            validation text.
        seeds: one base and one run of each arm for each.
        folder: where the runs lie.
    """

    words: tuple[str, ...]
    base: tuple[str, ...]
    arms: tuple[str, ...]
    control: str
    rates: tuple[str, ...]
    seeds: tuple[int, ...]
    folder: Path

    def rates_of(self, arm: str) -> tuple[str, ...]:
        """The rates among which an arm's is chosen."""
        return OWN_RATES.get(arm, self.rates)

    def base_point(self, seed: int) -> Point:
        """The base of a seed."""
        return self._point(f"base,seed={seed}", (*self.base, f"seed={seed}"))

    def point(self, arm: str, rate: str, steps: int, seed: int) -> Point:
        """One arm on the base of its own seed."""
        return self._point(
            f"{arm},lr={rate},steps={steps},seed={seed}",
            (
                *self.words,
                *ARMS[arm],
                f"base={self.base_point(seed).values['run.dir']}",
                f"optim.lr={rate}",
                f"steps={steps}",
                f"seed={seed}",
            ),
        )

    def _point(self, name: str, words: tuple[str, ...]) -> Point:
        from weft.sweeps.grid import Point

        home = str(self.folder / name)
        return Point((*words, f"run.dir={home}"), {"run.dir": home}, name)


@dataclass(frozen=True)
class Leg:
    """An arm on one of the two budgets.

    Attributes:
        arm: key of `ARMS`.
        budget: `STEPS` or `FLOPS`.
        rate: its learning rate.
        points: its runs, one a seed.
    """

    arm: str
    budget: str
    rate: str
    points: tuple[Point, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """`weft study controls [RECIPE KEY=VALUE ...]`; the exit code.

    One base is trained for each seed, then every arm on it: at the recipe's number of steps, and
    for as many steps as cost the FLOPs of the recipe itself. The same command goes on where it was
    stopped. The table and its figure are left in the folder, beside the runs.
    """
    return script.run(_compare, argv)


def _compare(words: list[str]) -> None:
    flags = _parser().parse_args(words)
    study = Study(
        words=tuple(flags.words),
        base=tuple(flags.base),
        arms=tuple(dict.fromkeys(flags.arms)),
        control=flags.control,
        rates=tuple(dict.fromkeys(flags.rates)),
        seeds=tuple(range(flags.seeds)),
        folder=flags.dir,
    )
    table = compare(study, flags.workers, _tell)

    show_table(rich_table(table))
    show(f"page  {study.folder / 'report.html'}")


def compare(study: Study, workers: int | None, on_done: Callable[[Outcome], None]) -> Table:
    """Trains what is not trained yet, and sums all of it up.

    Args:
        study: what is compared.
        workers: processes at a time.
        on_done: told of each run that ends.
    Returns: a row for each arm and budget; losses are of the test text, in nats a token.
    Raises:
        UsageError: if the control is not among the arms.
        ConfigError: if a setting is wrong, before anything is trained.
        RunError: if the folder holds another study, or a base does not finish.
        Interrupted: if it was stopped.
    """
    from weft import api
    from weft.run.directory import RunDirectory

    if study.control not in study.arms:
        raise UsageError(
            f"the control `{study.control}` is not among the arms",
            where="--control",
            expected=f"one of {', '.join(study.arms)}",
        )
    steps = _check(study)
    _keep_plan(study)
    place = RunDirectory(study.folder)
    place.lock()
    try:
        bases = [study.base_point(seed) for seed in study.seeds]
        _train(study, bases, workers, on_done)
        unfinished = [p.name for p in bases if p.name not in _finished(study)]
        if unfinished:
            raise RunError(f"no base: {', '.join(unfinished)} did not finish")
        search = [
            study.point(arm, rate, steps, study.seeds[0])
            for arm in study.arms
            for rate in study.rates_of(arm)
        ]
        _train(study, search, workers, on_done)
        legs = list(_legs(study, steps, _finished(study), api.dry_run))
        points = {point.name: point for leg in legs for point in leg.points}
        _train(study, list(points.values()), workers, on_done)
    finally:
        place.unlock()
    table = summarise(study, legs, _finished(study))
    _write(study, table)
    return table


def _check(study: Study) -> int:
    """Steps of the recipe; every setting is validated, and nothing else is done."""
    from weft import api

    if not study.seeds:
        raise UsageError("without a seed nothing is trained", where="--seeds", expected="1 or more")
    api.configure(*study.base)
    for arm in study.arms:
        api.configure(*study.words, *ARMS[arm], base="a base")
    for rate in study.rates:
        api.configure(*study.words, f"optim.lr={rate}", base="a base")
    whole = api.configure(*study.words, base="a base").config
    if whole.steps is None:
        raise UsageError(
            "the budget must be a number of steps", where="steps", hint="add steps=400"
        )
    return whole.steps


def _keep_plan(study: Study) -> None:
    """Writes down what is compared, or sees that it is what was compared here before."""
    from weft.config.yaml import read_file
    from weft.run.directory import RunDirectory

    plan = study.folder / "compare.yaml"
    asked: dict[str, Any] = {"words": list(study.words), "base": list(study.base)}
    if plan.is_file():
        if read_file(plan)[0] != asked:
            raise RunError(
                "this folder holds a comparison with another recipe or base",
                where=str(plan),
                hint="arms, rates and seeds may change; for the rest take another --dir",
            )
        return
    study.folder.mkdir(parents=True, exist_ok=True)
    RunDirectory(study.folder).write_yaml("compare", asked)


def _train(
    study: Study, points: list[Point], workers: int | None, on_done: Callable[[Outcome], None]
) -> None:
    """Trains those without a finished run; one that failed before is moved aside and tried once
    more, afresh."""
    from weft import api
    from weft.run.directory import aside
    from weft.run.registry import find_runs
    from weft.sweeps.grid import outstanding
    from weft.sweeps.pool import run_points

    found = find_runs(study.folder)
    todo = outstanding(points, found)
    for run in found:
        if run.state == "failed" and run.name in {point.name for point in todo}:
            run.path.replace(aside(run.path))
    outcomes = run_points(todo, api.train_point, workers, on_done)
    if any(outcome.state == "stopped" for outcome in outcomes):
        name = next(filter(None, (outcome.by for outcome in outcomes)), "SIGINT")
        raise Interrupted(name, str(study.folder), again="the same command goes on with it")


def _finished(study: Study) -> dict[str, Run]:
    from weft.run.registry import find_runs

    return {run.name: run for run in find_runs(study.folder) if run.state == "finished"}


def _legs(
    study: Study, steps: int, runs: Mapping[str, Run], dry_run: Callable[..., dict[str, Any]]
) -> Iterator[Leg]:
    """Every arm on both budgets, at its best rate; an arm none of whose rates is finite is left
    with its first, so that its failure is seen."""
    first = study.seeds[0]
    home = study.base_point(first).values["run.dir"]
    budget = steps * dry_run(*study.words, f"base={home}")["flops_per_step"]
    rates, lengths = {}, {}
    for arm in study.arms:

        def judged(rate: str, arm: str = arm) -> float:
            run = runs.get(study.point(arm, rate, steps, first).name)
            loss = None if run is None else run.metrics.get(_JUDGE)
            # What is no number is never the best, wherever it stands.
            return loss if loss is not None and math.isfinite(loss) else math.inf

        rates[arm] = min(study.rates_of(arm), key=judged)
        spend = dry_run(*study.words, *ARMS[arm], f"base={home}")["flops_per_step"]
        lengths[arm] = {STEPS: steps, FLOPS: max(1, round(budget / spend))}
    for kind in (STEPS, FLOPS):
        for arm in study.arms:
            points = (study.point(arm, rates[arm], lengths[arm][kind], s) for s in study.seeds)
            yield Leg(arm, kind, rates[arm], tuple(points))


def _minus(one: float | None, other: float | None) -> float:
    """The difference; no number where one of them is none."""
    return math.nan if one is None or other is None else one - other


def summarise(study: Study, legs: Sequence[Leg], runs: Mapping[str, Run]) -> Table:
    """Mean and standard error over seeds; differences are paired, seed by seed.

    Losses are of the test text; of the validation text where there is no other.
    """
    tested = any("test/loss" in run.metrics for run in runs.values())
    split = "test" if tested else "val"
    loss, gain, input_gain = (f"{split}/{key}" for key in ("loss", "gain", "input_gain"))
    control = {leg.budget: leg for leg in legs if leg.arm == study.control}
    rows: list[dict[str, Cell]] = []
    for leg in legs:
        pairs = list(zip(leg.points, control[leg.budget].points, strict=True))
        done = [runs[point.name] for point in leg.points if point.name in runs]
        row: dict[str, Cell] = {"arm": leg.arm, "budget": leg.budget, "lr": leg.rate}
        row["n"] = len(done)
        if done:
            row["trained"] = int(done[0].resolved["parameters"])
            row["steps"] = int(done[0].resolved["total_steps"])
            row["seconds"] = mean_of([float(run.status["seconds"]) for run in done])
            for name, key in (("loss", loss), ("gain", gain), ("input_gain", input_gain)):
                if all(key in run.metrics for run in done):
                    row[name] = mean_of([run.metrics[key] for run in done])
            against = [
                _minus(runs[one.name].metrics.get(loss), runs[other.name].metrics.get(loss))
                for one, other in pairs
                if one.name in runs and other.name in runs
            ]
            if against and leg.arm != study.control:
                row["against"] = mean_of(against)
        rows.append(row)
    return Table(
        columns=(
            Column("arm", role="axis"),
            Column("budget", "at equal", role="axis"),
            Column("lr", role="text"),
            Column("trained", role="text"),
            Column("steps", role="text"),
            Column("seconds", "time", unit="s"),
            Column("n", role="text"),
            Column("loss", f"{split} loss"),
            Column("gain", "base - loss"),
            Column("against", f"loss - {study.control}'s"),
            Column("input_gain", "shuffled - loss"),
        ),
        rows=tuple(rows),
        note="nats a token, same masks for all; mean ± standard error over n seeds, each with its "
        "own base; differences are paired; rates were chosen on validation text at equal steps",
    )


def _write(study: Study, table: Table) -> None:
    """Leaves table and figure on the page of the folder."""
    from weft.atomic import write_text
    from weft.plots.images import save
    from weft.plots.style import style
    from weft.reports.overview import write_overview
    from weft.reports.tables import markdown
    from weft.run.registry import find_runs

    with style():
        drawn = ("controls", table.note, picture(table))
        save(drawn[2], study.folder / "controls.png")
        write_overview(study.folder, find_runs(study.folder), [drawn], table)
    write_text(study.folder / "controls.md", markdown(table))


def picture(table: Table) -> Figure:
    """The loss of every arm on both budgets, with standard errors."""
    from matplotlib.figure import Figure

    arms = list(dict.fromkeys(str(row["arm"]) for row in table.rows))
    figure = Figure(figsize=(6.8, 1.2 + 0.42 * len(arms)), layout="constrained")
    axes = figure.add_subplot()
    for shift, (budget, marker, color) in zip(
        (-0.13, 0.13), ((STEPS, "o", "C0"), (FLOPS, "s", "C1")), strict=True
    ):
        losses = {
            arms.index(str(row["arm"])): loss
            for row in table.rows
            if row["budget"] == budget and isinstance(loss := row.get("loss"), Mean)
        }
        axes.errorbar(
            [loss.value for loss in losses.values()],
            [arm + shift for arm in losses],
            xerr=[loss.error or 0.0 for loss in losses.values()],
            fmt=marker,
            color=color,
            capsize=2,
            label=f"equal {budget}",
        )
    axes.set_yticks(range(len(arms)), arms)
    axes.invert_yaxis()
    axes.set(xlabel="loss, nats a token", title="Feedback and its controls")
    axes.legend()
    return figure


def _tell(outcome: Outcome) -> None:
    loss = (outcome.result or {}).get(_JUDGE)
    shown = outcome.error if loss is None else f"{_JUDGE} {loss:.4f}"
    tell(f"{outcome.point.name}: {outcome.state}  {shown}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "weft study controls",
        description=f"{__doc__} The same command goes on where it was stopped; it leaves runs, "
        "controls.md, controls.png and report.html in --dir.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "words",
        nargs="*",
        default=["feedback/cpu-gsm8k"],
        metavar="WORD",
        help="recipe and key=value of all arms",
    )
    parser.add_argument(
        "--base", nargs="+", default=["feedback/cpu-wikitext"], metavar="WORD", help="of the base"
    )
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM",
                        help=", ".join(ARMS))  # fmt: skip
    parser.add_argument("--control", choices=ARMS, default="static", metavar="ARM",
                        help="the arm to compare with")  # fmt: skip
    parser.add_argument("--rates", nargs="+", default=["1e-3", "3e-3"], metavar="LR",
                        help="learning rates to choose from, on the first seed")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="bases, and runs an arm")
    parser.add_argument("--workers", type=int, default=None, metavar="N", help="runs at a time")
    parser.add_argument("--dir", type=Path, default=Path("runs/feedback-compare"), metavar="DIR",
                        help="where the runs lie")  # fmt: skip
    return parser
