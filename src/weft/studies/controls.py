"""Trains arms and their controls on equal budgets; prints a table and a verdict on each arm."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from weft.atomic import write_text
from weft.config.family import Comparison
from weft.errors import UsageError
from weft.papers import script
from weft.reports.tables import rich_table
from weft.run.directory import RunDirectory, aside, keep_plan
from weft.run.registry import find_runs
from weft.studies.armed import find, listed
from weft.studies.bases import admit
from weft.studies.interior import best, beyond
from weft.studies.legs import FLOPS, STEPS, Leg, Sums, judge, summarise
from weft.studies.plan import Study, told
from weft.terminal import show, show_table, tell

if TYPE_CHECKING:
    from weft.run.registry import Run
    from weft.sweeps.grid import Point
    from weft.sweeps.pool import Outcome


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study controls [FAMILY | RECIPE] [KEY=VALUE ...]` and returns the exit code.

    For each seed one base is trained, then every arm on it: with the recipe's number of steps, and
    with as many steps as cost the same FLOPs. The same command continues where it was stopped. The
    folder gets a page with the table, verdicts and figures beside the runs. Without words nothing
    is trained: each family's plan is printed.
    """
    return script.run(_compare, argv)


def _compare(words: list[str]) -> None:
    flags = script.parsed(_parser(), words)
    if not flags.words:
        for name, comparison in listed().items():
            _tell_plan(_study(flags, comparison), shlex.join((name, *words)))
        return
    comparison = find(flags.words)
    study = _study(flags, comparison)
    if flags.dry_run:
        _tell_plan(study, shlex.join(word for word in words if word != "--dry-run"))
        return
    found = compare(study, flags.workers, _teller(comparison))

    show_table(rich_table(found.table))
    for line in found.lines:
        show(line)
    show(f"page  {study.folder / 'report.html'}")


def _study(flags: argparse.Namespace, comparison: Comparison) -> Study:
    """What the command line asks of a family's arms.

    Raises:
        UsageError: for an arm that it does not list, or a rate that is none.
    """
    from weft import families

    arms = tuple(dict.fromkeys(flags.arms or comparison.arms))
    for flag, named in (("--arms", arms), ("--equal-to", filter(None, [flags.equal_to]))):
        for arm in named:
            if arm not in comparison.arms:
                raise UsageError(
                    f"there is no arm `{arm}`",
                    where=flag,
                    expected=f"one of {', '.join(comparison.arms)}",
                )
    words = tuple(flags.words)
    if not words or words[0] in families.names():
        words = (*comparison.recipe, *words[1:])
    return Study(
        comparison=comparison,
        words=words,
        base=tuple(flags.base or comparison.base),
        arms=arms,
        budgets=tuple(dict.fromkeys(flags.budgets)),
        yardstick=flags.equal_to,
        rates=tuple(sorted(dict.fromkeys(flags.rates), key=_number)),
        grow=flags.grow,
        seeds=tuple(range(flags.first, flags.first + flags.seeds)),
        tolerance=flags.tolerance,
        below=flags.base_below,
        folder=flags.dir,
    )


def _tell_plan(study: Study, name: str) -> None:
    show(told(study, name, *_check(study)))


def compare(study: Study, workers: int | None, on_done: Callable[[Outcome], None]) -> Sums:
    """Trains the missing runs and summarises all of them.

    Args:
        study: what is compared.
        workers: processes at a time.
        on_done: called as each run ends.

    Returns: a row for each arm and budget, checks and verdicts; losses are those on the test data.

    Raises:
        UsageError: if there is no control among the arms, or no seed.
        ConfigError: if a setting is wrong, before anything is trained.
        PlaceTaken: if the folder holds another study.
        RunError: if a base does not finish, or too few have learnt.
        Interrupted: if a signal stopped it.
    """
    steps, base_steps = _check(study)
    plan = {"words": list(study.words), "base": list(study.base)}
    keep_plan(study.folder, "compare", plan, "a study of controls", "arms, rates and seeds")
    place = RunDirectory(study.folder)

    def based(seeds: Sequence[int]) -> dict[int, Run]:
        points = {seed: study.base_point(seed, base_steps) for seed in seeds}
        _train(study, list(points.values()), workers, on_done)
        runs = finished(study)
        return {seed: runs[p.name] for seed, p in points.items() if p.name in runs}

    place.lock()
    try:
        study, bases, passed = admit(study, based)
        legs = _search(study, _lengths(study, steps), workers, on_done)
        rest = [point for leg in legs for point in leg.points]
        _train(study, list({p.name: p for p in rest}.values()), workers, on_done)
    finally:
        place.unlock()
    runs = finished(study)
    controls = [arm for arm in study.arms if study.comparison.arms[arm].control]
    sums = summarise(study.comparison, legs, controls, bases, runs, study.tolerance)
    sums = replace(sums, lines=(*passed, *sums.lines))
    _write(study, sums)
    return sums


def _check(study: Study) -> tuple[int, int]:
    """Validates all settings, and returns the steps of the recipe and of the base."""
    from weft import api

    if not study.seeds:
        raise UsageError("without a seed nothing is trained", where="--seeds", expected="1 or more")
    if not any(study.comparison.arms[arm].control for arm in study.arms):
        known = [name for name, arm in study.comparison.arms.items() if arm.control]
        raise UsageError(
            "there is no control among the arms",
            where="--arms",
            expected=f"also one of {', '.join(known)}",
        )
    key = study.comparison.key
    for arm in study.arms:
        api.configure(*study.words_of(arm), **{key: "a base"})
    for rate in study.rates:
        api.configure(*study.words, f"optim.lr={rate}", **{key: "a base"})
    counts = []
    for config in (
        api.configure(*study.words, **{key: "a base"}).config,
        api.configure(*study.base).config,
    ):
        if config.steps is None:
            raise UsageError(
                "the budget must be a number of steps", where="steps", hint="add steps=400"
            )
        counts.append(config.steps)
    return counts[0], counts[1]


def _lengths(study: Study, steps: int) -> dict[tuple[str, str], int]:
    """(arm, budget) -> number of steps."""
    from weft import api

    base = f"{study.comparison.key}={study.home(study.seeds[0])}"

    def cost(arm: str) -> float:
        return api.mean_flops(*study.words_of(arm), base)

    spent = steps * cost(study.yardstick) if FLOPS in study.budgets else math.nan
    return {
        (arm, budget): steps if budget == STEPS else max(1, round(spent / cost(arm)))
        for budget in study.budgets
        for arm in study.arms
    }


def _search(
    study: Study,
    lengths: Mapping[tuple[str, str], int],
    workers: int | None,
    on_done: Callable[[Outcome], None],
) -> list[Leg]:
    """Every arm on every budget at its best rate; the grids grow while the best is at an end."""
    first = study.seeds[0]
    grids = {leg: list(study.rates_of(leg[0])) for leg in lengths}
    growing = set(grids)
    while growing:
        wanted = [
            study.point(arm, rate, lengths[arm, budget], first)
            for arm, budget in grids
            if (arm, budget) in growing
            for rate in grids[arm, budget]
        ]
        _train(study, list({p.name: p for p in wanted}.values()), workers, on_done)
        runs = finished(study)
        judged = {
            leg: {
                rate: judge(study.comparison, runs.get(study.point(leg[0], rate, n, first).name))
                for rate in grids[leg]
            }
            for leg, n in lengths.items()
        }
        for leg in sorted(growing):
            own = study.comparison.arms[leg[0]].rates
            more = None if own else beyond(judged[leg], study.rates, study.grow)
            if more is None:
                growing.discard(leg)
            else:
                grids[leg].append(more)
    return [
        Leg(
            arm,
            budget,
            best(judged[arm, budget]),
            tuple(grids[arm, budget]),
            tuple(
                study.point(arm, best(judged[arm, budget]), lengths[arm, budget], seed)
                for seed in study.seeds
            ),
        )
        for arm, budget in lengths
    ]


def _train(
    study: Study, points: list[Point], workers: int | None, on_done: Callable[[Outcome], None]
) -> None:
    """Trains the points without a finished run; a run that failed in an earlier call is moved aside
    and trained again."""
    from weft.sweeps import point
    from weft.sweeps.grid import outstanding
    from weft.sweeps.pool import refuse_stopped, run_points

    found = find_runs(study.folder)
    todo = outstanding(points, found)
    for run in found:
        if run.state == "failed" and run.name in {each.name for each in todo}:
            run.path.replace(aside(run.path))
    outcomes = run_points(todo, point.train_point, workers, on_done)
    refuse_stopped(outcomes, str(study.folder), "the same command goes on with it")


def finished(study: Study) -> dict[str, Run]:
    """The finished runs of a study, by name."""
    return {run.name: run for run in find_runs(study.folder) if run.state == "finished"}


def _write(study: Study, sums: Sums) -> None:
    """Writes table, verdicts and figures to the folder's page."""
    from weft.plots.images import save
    from weft.plots.style import style
    from weft.reports.overview import write_overview
    from weft.reports.written import markdown
    from weft.studies.drawn import curves, losses

    with style():
        about = "\n".join((sums.table.note, *sums.lines))
        drawn = [
            ("controls", about, losses(sums.table)),
            ("curves", "held-out loss of the first seed over its steps", curves(sums)),
        ]
        for name, _, figure in drawn:
            save(figure, study.folder / f"{name}.png")
        write_overview(study.folder, find_runs(study.folder), drawn, sums.table)
    text = "\n".join((markdown(sums.table), "", *(f"- {line}" for line in sums.lines), ""))
    write_text(study.folder / "controls.md", text)


def _teller(comparison: Comparison) -> Callable[[Outcome], None]:
    key = f"val/{comparison.loss}"

    def told(outcome: Outcome) -> None:
        loss = (outcome.result or {}).get(key)
        shown = outcome.error if loss is None else f"{key} {loss:.4f}"
        tell(f"{outcome.point.name}: {outcome.state}  {shown}")

    return told


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"`{text}` is no rate", where="--rates", expected="1e-3, say") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "weft study controls",
        description=f"{__doc__} The same command goes on where it was stopped; it leaves runs, "
        "controls.md, controls.png, curves.png and report.html in --dir.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="WORD",
        help="recipe and key=value of all arms, or a family, whose own recipe is meant; without "
        "words it is told what could be compared")  # fmt: skip
    add("--dry-run", action="store_true", help="say what would be trained, and train nothing")
    add("--base", nargs="+", metavar="WORD", help="recipe and key=value of the base")
    add("--arms", nargs="+", metavar="ARM", help="names of arms; by default all")
    add("--budgets", nargs="+", choices=(STEPS, FLOPS), default=[STEPS, FLOPS],
        help="what is equal")  # fmt: skip
    add("--equal-to", default="", metavar="ARM",
        help="whose FLOPs the others may spend; by default the recipe's own")  # fmt: skip
    add("--rates", nargs="+", default=["1e-3", "3e-3"], metavar="LR",
        help="learning rates to begin with, on the first seed")  # fmt: skip
    add("--grow", type=script.at_least(1), default=4, metavar="N",
        help="how often a grid of rates may grow at either end")  # fmt: skip
    add("--seeds", type=script.at_least(1), default=3, metavar="N", help="bases, and runs an arm")
    add("--first", type=script.at_least(0), default=0, metavar="SEED",
        help="the first of the seeds, so that several machines may share them out")  # fmt: skip
    add("--tolerance", type=script.not_negative, default=0.01, metavar="SHARE",
        help="by how much a loss at its plateau may fall in the last quarter")  # fmt: skip
    add("--base-below", type=script.finite, default=math.inf, metavar="LOSS",
        help="pass over a base whose validation loss is not below this, or still falls, and train "
        "that of the next seed instead, before any arm is trained")  # fmt: skip
    add("--workers", type=script.at_least(1), default=None, metavar="N", help="runs at a time")
    add("--dir", type=Path, default=Path("runs/controls"), metavar="DIR",
        help="where the runs lie")  # fmt: skip
    return parser
