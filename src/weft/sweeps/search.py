"""A search with Optuna, which proposes trials and stores them in a journal in the directory.

Several processes, on one machine or on several that share the directory, can work on one search:
each takes the next trial, or resumes one whose process has died, until there are enough.
"""

from __future__ import annotations

import fcntl
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from weft.atomic import write_text
from weft.config.yaml import write
from weft.data.random import derive
from weft.errors import Interrupted, MissingExtra, PlaceTaken, RunError, UsageError, WeftError
from weft.run.directory import RunDirectory, check_unused
from weft.run.files import read_yaml
from weft.run.recorder import Followers
from weft.run.registry import open_run
from weft.shell import spelt
from weft.sweeps.grid import REPLICATE
from weft.sweeps.point import train_point
from weft.sweeps.space import Space, parse
from weft.terminal import tell

if TYPE_CHECKING:
    import optuna

PLAN = "search.yaml"
WHY = "why"
"""What an attribute of a failed trial is called, and the table's column of them."""

_JOURNAL, _LOCK, _STUDY = "search.journal", "search.lock", "weft"
_SPACING = re.compile(r"^(lin|log):([^:]+):([^:]+)$")
_RANGE = re.compile(r"^([-+]?\d+)\.\.([-+]?\d+)$")
_DIGITS = 6
"""Significant digits of proposed numbers."""

Sampler = Literal["tpe", "random"]


@dataclass(frozen=True)
class Plan:
    """What is searched, and how.

    Attributes:
        words: recipes, overrides and axes, as typed.
        sampler: `tpe` learns from the trials so far, `random` does not.
        trials: number of trials in all; may grow in later calls.
        prune: whether a run ends early if it is worse than the median of earlier trials at the same
            step.
        metric: to optimise, such as `val/loss`.
        better: its direction, `lower` or `higher`.
    """

    words: tuple[str, ...]
    sampler: Sampler
    trials: int
    prune: bool
    metric: str
    better: Literal["lower", "higher"]

    @property
    def space(self) -> Space:
        """The words taken apart."""
        return parse(self.words)

    @property
    def seeds(self) -> tuple[str, ...]:
        """The seeds that every trial is averaged over; empty if no seeds were given."""
        return tuple(self.space.axes.get(REPLICATE, ()))


def open_plan(folder: Path, asked: Plan) -> Plan:
    """Starts or continues the search in `folder`.

    Raises:
        PlaceTaken: if something else lives there, or a search of other words.
    """
    file = folder / PLAN
    if file.is_file():
        known = read_plan(folder)
        if asdict(known) | {"trials": asked.trials} != asdict(asked):
            raise PlaceTaken(
                "this directory holds another search",
                where=str(file),
                expected="the same words and options; --trials may grow",
                hint=f"it was begun with {_command(known, folder)}",
            )
        if asked.trials <= known.trials:
            return known
    else:
        check_unused(folder, "a search")
    folder.mkdir(parents=True, exist_ok=True)
    head = "# The plan of a search; the same command continues it.\n"
    write_text(file, head + write({**asdict(asked), "words": list(asked.words)}))
    return asked


def _command(plan: Plan, folder: Path) -> str:
    """The command that began a search."""
    options = ["--search", plan.sampler, "--trials", str(plan.trials), "--metric", plan.metric]
    options += ["--prune"] * plan.prune
    return f"`{spelt('sweep', *plan.words, *options, '--dir', folder)}`"


def read_plan(folder: Path) -> Plan:
    """The plan of the search in `folder`.

    Raises:
        RunError: if the file is damaged.
    """
    content = read_yaml(folder / PLAN)
    words = content.get("words")
    try:
        plan = Plan(**{**content, "words": tuple(map(str, words or ()))})
        kinds = {"sampler": str, "trials": int, "prune": bool, "metric": str, "better": str}
        if not isinstance(words, list) or not plan.words:
            raise TypeError("no words")
        if wrong := [key for key, kind in kinds.items() if type(content[key]) is not kind]:
            raise TypeError(f"`{wrong[0]}` is {content[wrong[0]]!r}")
    except TypeError as error:
        raise RunError(
            "the plan of this search is damaged",
            where=str(folder / PLAN),
            expected=f"{', '.join(field.name for field in fields(Plan))}, as `weft sweep` writes "
            "them",
            hint="put it back from a copy, or give a new search another directory; the trials' "
            "runs are whole without it",
        ) from error
    return plan


def distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """The distribution of each axis other than the seed: for `lin:A:B` and `log:A:B` all numbers
    between, for `A..B` all integers, for a list its values.

    Raises:
        UsageError: if there is no axis.
        MissingExtra: if Optuna is not installed.
    """
    from_optuna = optuna_or_error().distributions
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for key, values in space.axes.items():
        if key == REPLICATE:
            continue
        text = next(w for w in space.words if w.startswith(f"{key}=")).partition("=")[2]
        if match := _SPACING.match(text):
            low, high = sorted((float(match[2]), float(match[3])))
            found[key] = from_optuna.FloatDistribution(low, high, log=match[1] == "log")
        elif match := _RANGE.match(text):
            found[key] = from_optuna.IntDistribution(int(match[1]), int(match[2]))
        else:
            found[key] = from_optuna.CategoricalDistribution(values)
    if not found:
        raise UsageError(
            "there is nothing to search",
            expected="an axis, such as `optim.lr=log:1e-4:1e-1` or `order=1,2,6`",
        )
    return found


def optuna_or_error() -> Any:
    """The module optuna, set to log only errors."""
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra("optuna", "sweep", "weft sweep --search") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def study_of(folder: Path, plan: Plan) -> optuna.Study:
    """The study in the directory's journal.

    Raises:
        RunError: if the journal is damaged.
    """
    found = optuna_or_error()
    _check_journal(folder / _JOURNAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The warning that journals are experimental.
        backend = found.storages.journal.JournalFileBackend(str(folder / _JOURNAL))
        try:
            storage = found.storages.JournalStorage(backend)
            made: optuna.Study = found.create_study(
                storage=storage,
                study_name=_STUDY,
                direction="minimize" if plan.better == "lower" else "maximize",
                load_if_exists=True,
                pruner=found.pruners.MedianPruner() if plan.prune else found.pruners.NopPruner(),
            )
        except OSError:
            raise
        # Optuna takes each entry as its own and raises anything where it is not.
        except Exception as error:
            raise _bad_journal(folder / _JOURNAL, f"{type(error).__name__}: {error}") from error
    return made


def _check_journal(file: Path) -> None:
    """Refuses a journal with a line that is no entry, before anything is added to it.

    Half a line at the end, which a process that was killed leaves, is taken out: Optuna would
    write its next entry behind it.
    """
    if not file.is_file():
        return
    whole, _, half = file.read_bytes().rpartition(b"\n")
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not (isinstance(entry, dict) and isinstance(entry.get("op_code"), int)):
            raise _bad_journal(file, f"line {number}: {line[:40]!r}")
    if half and not (whole or half.startswith(b"{")):
        raise _bad_journal(file, f"{half[:40]!r}")
    if half:
        # Optuna's lock: a process may be writing the other half just now.
        lock = optuna_or_error().storages.journal.JournalFileSymlinkLock(str(file))
        lock.acquire()
        try:
            with file.open("r+b") as opened:
                opened.truncate(opened.read().rfind(b"\n") + 1)
        finally:
            lock.release()


def _bad_journal(file: Path, found: str) -> RunError:
    return RunError(
        "the journal of this search is damaged",
        where=str(file),
        expected="a line of JSON for every change of a trial, as Optuna writes it",
        hint=f"found: {found[:160]}\nput it back from a copy; or move it away: the same command "
        "then proposes trials anew, and takes the runs that are finished as they are",
    )


def place_of(folder: Path, number: int, seed: str | None = None) -> Path:
    """The directory of a trial's run, or of the run of one of its seeds."""
    trial = folder / f"trial-{number:04d}"
    return trial if seed is None else trial / f"{REPLICATE}={seed}"


def take_trials(words: tuple[str, ...]) -> dict[str, Any]:
    """Takes trials of a search until there are enough.

    Args:
        words: the search's folder, then overrides for every run.

    Returns:
        The number of trials that this process finished.
    """
    folder, further = Path(words[0]), words[1:]
    plan = read_plan(folder)
    study, count = study_of(folder, plan), 0
    while (taken := _next(folder, study, plan)) is not None:
        number, holder = taken
        try:
            _carry_out(folder, study, number, plan, further)
            count += 1
        finally:
            holder.unlock()
    return {"trials": float(count)}


def _next(folder: Path, study: optuna.Study, plan: Plan) -> tuple[int, RunDirectory] | None:
    """A trial that no process works on, with its lock; None if there are enough trials."""
    found = optuna_or_error()
    with _alone(folder):
        trials = study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state != found.trial.TrialState.RUNNING:
                continue
            if (holder := _hold(folder, trial.number)) is None:
                continue
            # Another process may have ended it since it was listed.
            if study.get_trials(deepcopy=False)[trial.number].state == trial.state:
                return trial.number, holder
            holder.unlock()
        if len(trials) >= plan.trials:
            return None
        # Seeded by the trial's number alone, so that a repeated search proposes the same.
        seed = derive("search", len(trials)) % 2**32
        samplers = found.samplers
        study.sampler = (
            samplers.TPESampler(seed=seed, constant_liar=True)
            if plan.sampler == "tpe"
            else samplers.RandomSampler(seed=seed)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            number = study.ask(distributions(plan.space)).number
        holder = _hold(folder, number)
        assert holder is not None
        return number, holder


def _hold(folder: Path, number: int) -> RunDirectory | None:
    """The locked directory of a trial; None if another process has the lock."""
    place = folder / "locks" / f"{number:04d}"
    place.mkdir(parents=True, exist_ok=True)
    holder = RunDirectory(place)
    try:
        holder.lock()
    except RunError:
        return None
    return holder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the lock of the search: no other process takes a trial meanwhile."""
    with (folder / _LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _carry_out(
    folder: Path, study: optuna.Study, number: int, plan: Plan, further: Sequence[str]
) -> None:
    """Trains or resumes the runs of a trial, and reports the result to the study."""
    found = optuna_or_error()
    trial = found.trial.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
    values: list[float] = []
    why = ""
    state = found.trial.TrialState.COMPLETE
    try:
        for seed in plan.seeds or (None,):
            watcher = _Watcher(trial, plan.metric)
            place = place_of(folder, number, seed)
            words = _words(plan.space, trial.params, seed, place)
            # Pruning looks at the first seed only.
            watched = plan.prune and not values
            sinks = [lambda _, watcher=watcher: watcher] if watched else []
            train_point((*words, *further), Followers(show=False, sinks=sinks))
            values.append(_value(place, plan))
            if watcher.wished:
                state = found.trial.TrialState.PRUNED
                break
    except Interrupted:
        raise
    except WeftError as error:
        tell(f"trial {number} failed: {error.brief}")
        why = error.brief
    value = math.nan if why or not values else fmean(values)
    if state == found.trial.TrialState.COMPLETE and not math.isfinite(value):
        state = found.trial.TrialState.FAIL
        trial.set_user_attr(WHY, why or f"{plan.metric} is no number")
    study.tell(number, value if state == found.trial.TrialState.COMPLETE else None, state=state)
    said = ", ".join(f"{key}={_text(value)}" for key, value in trial.params.items())
    tell(f"trial {number}: {state.name.lower()}  {plan.metric} {value:.5g}  {said}")


class _Watcher:
    """A sink that reports a run's evaluations to its trial, and ends the run if it is pruned."""

    def __init__(self, trial: Any, metric: str) -> None:
        self.trial, self.metric, self.wished = trial, metric, False

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        if (value := values.get(self.metric)) is None:
            return
        with warnings.catch_warnings():
            # A resumed run passes some steps again, which may be reported only once.
            warnings.simplefilter("ignore")
            self.trial.report(value, step)
        self.wished = bool(self.trial.should_prune())

    def enough(self) -> bool:
        return self.wished

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Has nothing to close."""


def _words(
    space: Space, params: Mapping[str, Any], seed: str | None, place: Path
) -> tuple[str, ...]:
    """The words of a trial's run, with axes replaced by the proposed values."""
    chosen = {key: _text(value) for key, value in params.items()}
    if seed is not None:
        chosen[REPLICATE] = seed
    words = [
        word if (axis := space.axis_of(word)) is None else f"{axis}={chosen[axis]}"
        for word in space.words
    ]
    return (*words, f"run.dir={place}")


def _text(value: Any) -> str:
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)


def _value(place: Path, plan: Plan) -> float:
    """The metric of a finished run; that of its best weights if the metric selects them."""
    run = open_run(place)
    best, selects = run.status.get("best"), run.declared[0] if run.declared else None
    if best and selects is not None and plan.metric == f"val/{selects.name}":
        value = best["value"]
    else:
        value = run.metrics.get(plan.metric)
    return math.nan if value is None else float(value)
