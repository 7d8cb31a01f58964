"""Compares runs: what differs in their configs, their metrics, and differences paired by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from weft.config.layer import dotted
from weft.config.rule import shown as spelt
from weft.reports.query import check_names, facts
from weft.reports.settings import essential, same_setting
from weft.reports.tables import Cell, Column, Mean, Table, mean_of
from weft.run.named import Which, every
from weft.run.registry import Run, declared_by
from weft.task.metric import SPLITS, by_split, find

_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""The .975 quantile of Student's t at 1, 2, … degrees of freedom (any table of it)."""


@dataclass(frozen=True)
class Arm:
    """Runs of one setting, repeated over seeds.

    Attributes:
        name: what distinguishes it from the others, such as `order=10`.
        runs: seed -> run; if there are several of one seed, the newest.
    """

    name: str
    runs: Mapping[Any, Run]

    @property
    def first(self) -> Run:
        """The run of the seed that came first."""
        return next(iter(self.runs.values()))

    def means(self, metric: str) -> Mean | None:
        """Mean and standard error of a metric over seeds; None if no run measured it."""
        values = [run.metrics[metric] for run in self.runs.values() if metric in run.metrics]
        return mean_of(values) if values else None


@dataclass(frozen=True)
class Comparison:
    """A comparison of runs.

    Attributes:
        arms: the settings, each with its seeds.
        tables: configs, metrics and, if arms share seeds, paired differences.
    """

    arms: list[Arm]
    tables: list[Table]

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables)


def compare(paths: Sequence[Which], metrics: str | Sequence[str] = ()) -> Comparison:
    """Compares runs, or folders of runs; arguments and errors as for `weft.compare`."""
    metrics = (metrics,) if isinstance(metrics, str) else metrics
    found = every(paths)
    check_names("--metric", metrics, [facts(run) for run in found])
    sides = arms(found)
    tables = [config_table(sides), metric_table(sides, metrics)]
    if (differences := paired(sides, metrics)) is not None:
        tables.append(differences)
    return Comparison(sides, tables)


def arms(runs: Iterable[Run]) -> list[Arm]:
    """The settings of runs, each with its seeds, in the order of their first runs."""
    groups: dict[tuple[str, str], dict[Any, Run]] = {}
    for run in runs:
        group = groups.setdefault((run.family, same_setting(dotted(run.config))), {})
        group[run.config.get("seed")] = run
    members = list(groups.values())
    varied = differing([next(iter(group.values())) for group in members])
    names = []
    for group in members:
        run = next(iter(group.values()))
        config = dotted(run.config)
        words = [f"{key}={_shown(config.get(key))}" for key in varied if key in config]
        few = len(words) <= 3
        names.append(" ".join(words) if words and few else f"{run.family}/{run.name}")
    return [
        Arm(name if names.count(name) == 1 else f"{name} ({number})", group)
        for number, (name, group) in enumerate(zip(names, members, strict=True), start=1)
    ]


def differing(runs: Sequence[Run]) -> list[str]:
    """The dotted keys, of those that change what is learnt, in which configs of runs differ."""
    configs = [essential(dotted(run.config)) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if len({_text(config, key) for config in configs}) > 1]


def config_table(found: Sequence[Arm]) -> Table:
    """Config values that differ, a row for each key and a column for each arm."""
    firsts = [arm.first for arm in found]
    configs = [dotted(run.config) for run in firsts]
    columns = [Column("key", role="text"), *(Column(arm.name, role="text") for arm in found)]
    rows = [
        {"key": key, **{a.name: _shown(c.get(key)) for a, c in zip(found, configs, strict=True)}}
        for key in differing(firsts)
    ]
    note = "" if rows else "the configs differ in nothing that changes what is learnt"
    return Table(tuple(columns), tuple(rows), title="Config", note=note)


def metric_table(found: Sequence[Arm], names: Sequence[str] = ()) -> Table:
    """Mean and standard error over seeds, a row for each arm and a column for each metric.

    Args:
        found: the arms.
        names: metrics to show; by default those of held-out splits that are not numbered by step.
    """
    shown = list(names) or _held_out(found)
    declared = declared_by(run for arm in found for run in arm.runs.values())
    rows: list[dict[str, Cell]] = [
        {"arm": arm.name, "n": len(arm.runs), **{name: arm.means(name) for name in shown}}
        for arm in found
    ]
    columns = (
        Column("arm", role="text"),
        Column("n", role="text"),
        *(Column.of(name, declared) for name in shown),
    )
    note = "mean ± standard error over n seeds"
    return Table(columns, tuple(rows), title="Metrics", note=note)


def paired(found: Sequence[Arm], names: Sequence[str] = ()) -> Table | None:
    """Differences from the first arm, seed by seed, with the 95 % interval of their mean.

    None if no other arm shares two seeds with the first, since one difference has no interval.
    """
    rows: list[dict[str, Cell]] = []
    first, others = found[0], found[1:]
    for arm in others:
        seeds = [seed for seed in first.runs if seed in arm.runs]
        for name in names or _held_out(found):
            pairs = [
                (first.runs[s].metrics.get(name), arm.runs[s].metrics.get(name)) for s in seeds
            ]
            gaps = [b - a for a, b in pairs if a is not None and b is not None]
            if len(gaps) < 2 or not all(map(math.isfinite, gaps)):
                continue
            centre, half = interval(gaps)
            metric = find(declared_by(arm.runs.values()), name)
            rows.append(
                {
                    "arm": arm.name,
                    "metric": name,
                    "seeds": len(gaps),
                    "difference": centre,
                    "low": centre - half,
                    "high": centre + half,
                    "verdict": _verdict(centre, half, metric.better if metric else ""),
                }
            )
    if not rows:
        return None
    texts, numbers = ("arm", "metric", "seeds"), ("difference", "low", "high")
    columns = [Column(key, role="text") for key in texts] + [Column(key) for key in numbers]
    note = (
        f"paired by seed: this arm less `{first.name}`; low and high are the 95 % interval of the "
        "mean (Student's t); open: it holds 0"
    )
    return Table(
        (*columns, Column("verdict", role="status")), tuple(rows), "Against the first", note
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of two or more values, and half the width of its 95 % interval by Student's t."""
    return fmean(values), student(len(values) - 1) * stdev(values) / math.sqrt(len(values))


def student(freedom: int) -> float:
    """The .975 quantile of Student's t at 1 or more degrees of freedom."""
    # Beyond the table: the first terms of Cornish and Fisher's expansion, right to three digits.
    return _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else 1.96 + 2.4 / freedom


def _verdict(centre: float, half: float, better: str) -> str:
    if abs(centre) <= half:
        return "open"
    if not better:
        return "above" if centre > 0 else "below"
    return "better" if (centre < 0) == (better == "lower") else "worse"


def _held_out(found: Sequence[Arm]) -> list[str]:
    names = dict.fromkeys(n for arm in found for run in arm.runs.values() for n in run.metrics)
    wanted = [n for n in names if by_split(n)[0] in SPLITS[1:] and not n[-1].isdigit()]
    tests = [name for name in wanted if name.startswith("test/")]
    return tests or wanted or list(names)


def _text(config: Mapping[str, Any], key: str) -> str:
    return _shown(config[key]) if key in config else ""


def _shown(value: Any) -> str:
    return "null" if value is None else spelt(value)
