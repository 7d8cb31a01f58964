"""The points of a sweep, the plan file by which a repeated command continues it, its table."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from weft.atomic import write_text
from weft.config.explain import suggest
from weft.config.yaml import read_value, write
from weft.errors import PlaceTaken, RunError, UsageError
from weft.reports.tables import Column, Table, mean_of
from weft.run.directory import check_unused
from weft.run.files import read_yaml
from weft.run.registry import Run, declared_by
from weft.sweeps.space import LIMIT, Space
from weft.task.metric import SPLITS, Metric, find

PLAN = "sweep.yaml"
REPLICATE = "seed"
"""The axis that is averaged over, never compared."""

_UNSAFE = re.compile(r"[^\w.+=,\-]+")
_AXIS = re.compile(r"[\w-]+(\.[\w-]+)*")
_LONGEST_LABEL, _LONGEST_NAME = 40, 200
_MOST_STEPS = 3
"""A table shows all columns of a metric that is numbered by step if there are at most this many."""


@dataclass(frozen=True)
class Point:
    """One run of the grid.

    Attributes:
        overrides: all words of the run: recipes, files and `key=value`, in the order typed.
        values: axis -> value as YAML text.
        name: name of its run directory, such as `delay=20,order=10,seed=0`.
    """

    overrides: tuple[str, ...]
    values: Mapping[str, str]
    name: str


def points(space: Space, directory: Path | None = None) -> list[Point]:
    """Every point of the grid; the seed varies slowest, so that one seed of every setting is first.

    Args:
        space: the axes and the words around them.
        directory: where the sweep lives; each point then gets `run.dir=<directory>/<name>`.
    """
    keys = sorted(space.axes, key=lambda key: key != REPLICATE)
    shown = [key for key in space.axes if key != REPLICATE]
    shown += [key for key in keys if key == REPLICATE]
    labels = {key: _labels(values) for key, values in space.axes.items()}
    made = []
    for number, combination in enumerate(
        itertools.product(*(range(len(space.axes[key])) for key in keys)), start=1
    ):
        at = dict(zip(keys, combination, strict=True))
        name = ",".join(f"{key}={labels[key][at[key]]}" for key in shown) or "only"
        if len(name) > _LONGEST_NAME:
            name = f"point-{number:04d}"
        values = {key: space.axes[key][at[key]] for key in shown}
        words = [
            word if (axis := space.axis_of(word)) is None else f"{axis}={values[axis]}"
            for word in space.words
        ]
        if directory is not None:
            words.append(f"run.dir={directory / name}")
        made.append(Point(tuple(words), values, name))
    return made


def open_plan(directory: Path, space: Space) -> list[Point]:
    """Starts or continues the sweep in `directory`, and returns its points.

    Writes `sweep.yaml` on the first call. In later calls the order of axes and words may differ,
    and an axis may have more values, by which sweep and plan grow; all else must be the same.

    Raises:
        PlaceTaken: if another sweep, or something else, lives in the directory.
    """
    plan = directory / PLAN
    if plan.exists():
        known, checksums = _read(plan)
        if _grows(known, space) and checksums == _checksums(space):
            _write(plan, space)
            return points(space, directory)
        differences = _differences(known, space) or [
            f"`{word}` was edited since the sweep began"
            for word, checksum in _checksums(space).items()
            if checksums.get(word) != checksum
        ]
        if differences:
            raise PlaceTaken(
                "this directory holds another sweep",
                where=str(plan),
                expected="the same words, to continue it",
                hint="\n".join([*differences, "or give the new sweep another directory"]),
            )
        return points(known, directory)
    check_unused(directory, "a sweep")
    directory.mkdir(parents=True, exist_ok=True)
    _write(plan, space)
    return points(space, directory)


def read_plan(directory: Path) -> list[Point]:
    """The points of the sweep in `directory`; an empty list if there is none."""
    plan = directory / PLAN
    return points(_read(plan)[0], directory) if plan.is_file() else []


def outstanding(planned: Sequence[Point], runs: Iterable[Run]) -> list[Point]:
    """The points without a finished run, which are to be started or resumed."""
    finished = {run.path.name for run in runs if run.state == "finished"}
    return [point for point in planned if point.name not in finished]


def known_metric(declared: Sequence[Metric], name: str) -> None:
    """Refuses the name of a metric that the runs do not measure on a held-out split.

    Raises:
        UsageError: if there is no metric of that name.
    """
    held_out = SPLITS[1:]
    if name.partition("/")[0] not in held_out or find(declared, name) is None:
        known = [f"{split}/{metric.name}" for split in held_out for metric in declared]
        raise UsageError(
            f"runs have no metric `{name}`",
            expected=f"one of {', '.join(known)}",
            hint=suggest(name, known, ""),
        )


def table_of(directory: Path, runs: Sequence[Run], metric: str | None = None) -> Table | None:
    """The table of the sweep in `directory`, or None if there is none.

    Args:
        directory: of the sweep.
        runs: of the sweep, in any state.
        metric: one to show in addition to the default ones.
    """
    planned = read_plan(directory)
    if not planned:
        return None
    shown = _metrics([run for run in runs if run.state == "finished"])
    if metric is not None and metric not in shown:
        shown.append(metric)
    return summarise(planned, runs, shown)


def summarise(planned: Sequence[Point], runs: Iterable[Run], metrics: Sequence[str] = ()) -> Table:
    """Mean and standard error over seeds of the finished runs, one row a setting.

    Args:
        planned: all points of the sweep; a setting without a finished run keeps an empty row.
        runs: the runs of the sweep, in any state.
        metrics: columns to show; by default all `test/` metrics, else all `val/` metrics, else
            all. Of a metric that is numbered by step, only the first and the last.
    """
    finished = [run for run in runs if run.state == "finished"]
    results = {run.path.name: run.metrics for run in finished}
    declared = declared_by(finished)
    columns = list(metrics) or _metrics(finished)
    settings: dict[tuple[str, ...], list[Point]] = {}
    axes = [key for key in (planned[0].values if planned else ()) if key != REPLICATE]
    for point in planned:
        settings.setdefault(tuple(point.values[key] for key in axes), []).append(point)
    rows = []
    for texts, members in settings.items():
        done = [results[point.name] for point in members if point.name in results]
        row: dict[str, Any] = {
            key: read_value(text, key) for key, text in zip(axes, texts, strict=True)
        }
        row["n"] = len(done)
        for metric in columns:
            numbers = [values[metric] for values in done if metric in values]
            row[metric] = mean_of(numbers) if numbers else None
        rows.append(row)
    total = len(planned)
    left = total - len(results.keys() & {point.name for point in planned})
    repeated = max((len(members) for members in settings.values()), default=1) > 1
    note = "mean ± standard error over n seeds" if repeated else "one run a setting"
    return Table(
        columns=(
            *(Column(key, role="axis") for key in axes),
            Column("n", role="text"),
            *(Column.of(metric, declared) for metric in columns),
        ),
        rows=tuple(rows),
        note=note + (f"; {left} of {total} runs are not finished" if left else ""),
    )


def _write(plan: Path, space: Space) -> None:
    content = {
        "words": list(space.words),
        "axes": {key: list(values) for key, values in space.axes.items()},
        "checksums": _checksums(space),
    }
    head = "# The plan of a sweep; `weft sweep` with the same words continues it.\n"
    write_text(plan, head + write(content))


def _grows(known: Space, asked: Space) -> bool:
    """Whether `asked` has all points of `known`, under the same names, and more values."""
    if list(known.axes) != list(asked.axes) or sorted(known.fixed) != sorted(asked.fixed):
        return False
    if not all({*values} <= {*asked.axes[key]} for key, values in known.axes.items()):
        return False
    before, now = ({p.name: tuple(p.values.items()) for p in points(s)} for s in (known, asked))
    return before.items() < now.items()


def _read(plan: Path) -> tuple[Space, dict[str, str]]:
    content = read_yaml(plan)
    try:
        words, axes, checksums = content["words"], content["axes"], content["checksums"]
        space = Space(_texts(words), {key: _texts(values) for key, values in axes.items()})
        _texts(list(checksums.values()))
        if prod(map(len, axes.values())) > LIMIT or not all(map(_AXIS.fullmatch, axes)):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            "the plan of this sweep is damaged",
            where=str(plan),
            expected="words, axes and checksums, as `weft sweep` writes them",
            hint="put it back from a copy; its runs are whole without it",
        ) from error
    return space, dict(checksums)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError
    return tuple(values)


def _metrics(finished: Sequence[Run]) -> list[str]:
    names = list(dict.fromkeys(name for run in finished for name in run.metrics))
    for split in ("test/", "val/"):
        if chosen := [name for name in names if name.startswith(split)]:
            names = chosen
            break
    declared = declared_by(finished)
    between: set[str] = set()
    for metric in declared:
        steps = [name for name in names if metric.covers(name) and _last(name).isdigit()]
        steps.sort(key=lambda name: int(_last(name)))
        if "*" in metric.name and len(steps) > _MOST_STEPS:
            between.update(steps[1:-1])
    return [name for name in names if name not in between]


def _last(name: str) -> str:
    """What follows the last `_`: the number of a step, but also the 0.7 of `size_0.7`."""
    return name.rpartition("_")[2]


def _labels(values: Sequence[str]) -> list[str]:
    """The values as parts of a directory name, with a number appended to equal ones."""
    labels = [
        value if _UNSAFE.search(value) is None else _UNSAFE.sub("-", value).strip("-")
        for value in values
    ]
    labels = [label[:_LONGEST_LABEL] for label in labels]
    # Compared without case, which some file systems ignore.
    folded = [label.casefold() for label in labels]
    return [
        label if label and folded.count(fold) == 1 else f"{label}~{number}"
        for number, (label, fold) in enumerate(zip(labels, folded, strict=True), start=1)
    ]


def _differences(known: Space, asked: Space) -> list[str]:
    lines = [
        f"`{key}`: planned {_listed(known, key)}, asked for {_listed(asked, key)}"
        for key in dict.fromkeys([*known.axes, *asked.axes])
        if known.axes.get(key) != asked.axes.get(key)
    ]
    before, now = known.fixed, asked.fixed
    lines += [f"planned with `{word}`, which is missing now" for word in before if word not in now]
    lines += [f"planned without `{word}`" for word in now if word not in before]
    recipes = [[word for word in fixed if "=" not in word] for fixed in (before, now)]
    if not lines and recipes[0] != recipes[1]:
        lines.append(f"recipes and files were merged in the order {' '.join(recipes[0])}")
    return lines


def _listed(space: Space, key: str) -> str:
    return ",".join(space.axes[key]) if key in space.axes else "no values"


def _checksums(space: Space) -> dict[str, str]:
    """Checksum of each file among the words, since an edited file makes another sweep."""
    return {
        word: hashlib.blake2b(Path(word).read_bytes(), digest_size=16).hexdigest()
        for word in space.fixed
        if Path(word).is_file()
    }
