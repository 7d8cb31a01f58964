"""Runs a search and reports it: a table of trials, and figures of its course and of importance."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft import families
from weft.config.base import FamilyConfig
from weft.config.paths import as_name
from weft.errors import RunError, UsageError
from weft.plots.images import Named, save
from weft.plots.labels import head, many, plain
from weft.plots.style import MUTED, PALETTE, style
from weft.reports.tables import Column, Table
from weft.run.registry import find_runs
from weft.sweeps.grid import Point, known_metric
from weft.sweeps.places import LOCAL, find_place
from weft.sweeps.pool import DEVICE, THREADS, Outcome, check_workers, refuse_stopped
from weft.sweeps.search import (
    WHY,
    Plan,
    Sampler,
    distributions,
    open_plan,
    optuna_or_error,
    place_of,
    study_of,
    take_trials,
)
from weft.sweeps.space import parse
from weft.sweeps.sweep import Sweep, checked
from weft.task.metric import Metric, axis_words, find

if TYPE_CHECKING:
    import optuna


def search(
    *words: str | Path,
    sampler: Sampler,
    trials: int,
    prune: bool = False,
    directory: Path | str | None = None,
    workers: int | None = None,
    metric: str | None = None,
    on_done: Callable[[Outcome], None] | None = None,
    on: str = LOCAL,
    on_notice: Callable[[str], None] = lambda _: None,
) -> Sweep:
    """Searches for good settings; the same call, here or in another process, continues the search.

    Args:
        words: as for a sweep. The axis `lin:A:B` or `log:A:B` allows all numbers between, `A..B`
            all integers, a list its values; `seed=0..2` are the seeds that a trial is averaged
            over.
        sampler: `tpe` or `random`.
        trials: number of trials in all; a larger number later adds some.
        prune: whether runs end early that are worse than the median.
        directory: the search's directory, `runs/sweeps/<recipe>-search` by default.
        workers: processes of this call; one by default.
        metric: to optimise; by default the one that selects the best weights, on validation.
        on_done: called as each process ends.
        on: where processes run, as `weft.sweeps.places.find_place` reads it.
        on_notice: called with each sentence there is to tell of every config, before any is run.

    Raises:
        UsageError: if there is no axis, or no held-out data to judge by.
        DeviceError: if the place is not available.
    """
    check_workers(workers)
    typed = tuple(map(str, words))
    space = parse(typed)
    kinds = distributions(space)
    resolved = checked(space, on_notice)
    sought, declared = _sought(resolved[0].config, metric)
    folder = Path(directory or Path("runs") / "sweeps" / f"{as_name(resolved[0].named)}-search")
    carry_out = find_place(on, folder)
    plan = open_plan(folder, Plan(typed, sampler, trials, prune, sought, declared.better))
    study_of(folder, plan)
    count = workers or 1
    # The words that say what resources a process takes, which its place reads, too.
    takes = [word for word in typed if word.startswith((THREADS, DEVICE))]
    given = (str(folder), *(word for word in takes if space.axis_of(word) is None))
    takers = [Point(given, {}, f"process {number}") for number in range(1, count + 1)]
    outcomes = carry_out(takers, take_trials, count, on_done)
    refuse_stopped(outcomes, str(folder), "the same command goes on with it")
    study = study_of(folder, plan)
    found = _shown(folder, study, plan, declared, list(kinds), outcomes)
    _refuse_fruitless(study, outcomes, sought, folder)
    return found


def _shown(
    folder: Path,
    study: optuna.Study,
    plan: Plan,
    metric: Metric,
    keys: list[str],
    outcomes: list[Outcome],
) -> Sweep:
    """The search with its table, pictures and page, which are written into the folder."""
    from weft.reports.overview import write_overview

    table = trial_table(study, plan, metric)
    with style():
        figures = drawn(study, plan, metric, keys)
    pictures = [folder / f"{name}.png" for name, _, _ in figures]
    for picture, (_, _, figure) in zip(pictures, figures, strict=True):
        save(figure, picture)
    page = write_overview(folder, find_runs(folder), figures, table)
    return Sweep(folder, table, outcomes, pictures, page)


def _sought(config: FamilyConfig, name: str | None) -> tuple[str, Metric]:
    """The metric to search by, with its split, and what the task declares of it.

    Args:
        config: of any of the runs.
        name: that was asked for; None for the one that selects the best weights, on validation.

    Raises:
        UsageError: if there is no such metric, or no held-out data to measure it on.
    """
    # Imported here, since it imports torch.
    from weft.task.load import load_task

    task = load_task(families.find(config.family), config)
    sought = name or f"val/{task.metrics[0].name}"
    known_metric(task.metrics, sought)
    declared = find(task.metrics, sought)
    assert declared is not None
    if sought.startswith("val/") and not task.spec().sizes.get("val"):
        raise UsageError(
            "nothing is held out that trials could be judged by",
            expected="a validation split, or --metric with a metric of another split",
        )
    return sought, declared


def _refuse_fruitless(
    study: optuna.Study, outcomes: Sequence[Outcome], sought: str, folder: Path
) -> None:
    """Raises: RunError if no trial gave a number and none is left to; it says why."""
    tried = study.get_trials(deepcopy=False)
    if all(trial.state.is_finished() and trial.value is None for trial in tried):
        told = [outcome.error for outcome in outcomes]
        told += [trial.user_attrs.get(WHY, "") for trial in tried]
        raise RunError(
            f"no trial of the search gave a number for {sought}",
            where=str(folder),
            hint="\n".join(filter(None, dict.fromkeys(told))),
        )


def trial_table(study: optuna.Study, plan: Plan, metric: Metric) -> Table:
    """The table of trials, the best first, those without a result last."""
    trials = study.get_trials(deepcopy=False)
    sign = 1 if plan.better == "lower" else -1
    trials.sort(key=lambda t: (t.value is None, sign * (t.value or 0.0), t.number))
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    rows = [
        {
            "trial": place_of(Path(), trial.number).name,
            "state": trial.state.name.lower(),
            **{key: trial.params.get(key) for key in keys},
            plan.metric: trial.value,
            **trial.user_attrs,
        }
        for trial in trials
    ]
    columns = (
        Column("trial", role="text"),
        Column("state", role="status"),
        *(Column(key, role="text") for key in keys),
        Column(plan.metric, unit=metric.unit, metric=metric),
        *([Column(WHY, role="prose")] if any(WHY in trial.user_attrs for trial in trials) else []),
    )
    ended = sum(trial.state.is_finished() for trial in trials)
    note = f"{ended} of {plan.trials} trials; {plan.sampler}"
    note += f", each the mean of {len(plan.seeds)} seeds" if plan.seeds else ""
    return Table(columns, tuple(rows), note=note)


def drawn(study: optuna.Study, plan: Plan, metric: Metric, keys: list[str]) -> list[Named]:
    """Figures: the course of the search, each parameter against the metric, and importances."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    good = [t for t in study.get_trials(deepcopy=False) if t.value is not None]
    if not good:
        return []
    course = Figure(figsize=(6.4, 3.6))
    axes = course.add_subplot()
    head(axes, plan.metric, many(len(good), "trial"))
    axes.plot([t.number for t in good], _values(good), "o", color=MUTED, markersize=4)
    line: list[float] = []
    for value in _values(good):
        line.append(value if not line or metric.improves(value, line[-1]) else line[-1])
    axes.step([t.number for t in good], line, where="post", color=PALETTE[0])
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlim(-0.5, max(1, good[-1].number) + 0.5)
    axes.set_ylabel(plain(axis_words(metric)))
    figures: list[Named] = [
        ("search", "Each trial as a dot, the best so far as a line.", course),
        ("parameters", "Each trial's number over what was proposed.", _against(good, plan, keys)),
    ]
    if (shares := _importance(study)) is not None:
        figure = Figure(figsize=(6.4, 0.9 + 0.35 * len(shares)))
        axes = figure.add_subplot()
        head(axes, "importance", "")
        names = list(reversed(shares))
        axes.barh([plain(name) for name in names], [shares[name] for name in names])
        axes.set_xlabel("share of the variation of good trials")
        figures.append(("importance", "What mattered among the good trials (PED-ANOVA).", figure))
    return figures


def _against(good: list[optuna.trial.FrozenTrial], plan: Plan, keys: list[str]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(3.2, 2.6 * len(keys)), 2.8))
    kinds = distributions(plan.space)
    for place, key in enumerate(keys, start=1):
        axes = figure.add_subplot(1, len(keys), place)
        proposed = [trial.params[key] for trial in good]
        axes.plot(proposed, _values(good), "o", color=PALETTE[0], markersize=4)
        if getattr(kinds[key], "log", False):
            axes.set_xscale("log")
        axes.set_xlabel(plain(key))
        if place == 1:
            axes.set_ylabel(plain(plan.metric))
    return figure


def _values(good: list[optuna.trial.FrozenTrial]) -> list[float]:
    return [float(trial.value) for trial in good if trial.value is not None]


def _importance(study: optuna.Study) -> dict[str, float] | None:
    """Importance by parameter, as shares (PED-ANOVA); None with too few trials or parameters."""
    importance = optuna_or_error().importance
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            evaluator = importance.PedAnovaImportanceEvaluator()
            shares = importance.get_param_importances(study, evaluator=evaluator)
        except (ValueError, RuntimeError):
            return None
    return dict(shares) if len(shares) > 1 else None
