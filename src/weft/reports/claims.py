"""A paper's numbers beside ours: `claims.yaml`, the runs that match it, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.config.layer import dotted
from weft.config.yaml import KeyPath, is_number, read_file
from weft.errors import ConfigError, WeftError
from weft.reports.settings import same_setting, same_value
from weft.reports.tables import Cell, Column, Table, mean_of, measured
from weft.task.metric import ARROWS, Metric, find

if TYPE_CHECKING:
    from weft.config.family import Family
    from weft.run.registry import Run

NOT_RUN = "not run"
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Claim:
    """A number that a paper states.

    Attributes:
        id: short name.
        where: place in the paper, such as `Table 1`.
        metric: our metric it is compared with, such as `test/accuracy`.
        config: dotted key -> value that identifies the experiment: runs with other values belong to
            other experiments.
        published: the paper's number.
        note: what a reader must know to compare them, or "".
        tolerance: half a unit of the last published digit, or half the width of a band whose
            middle is `published`; in the metric's unit.
        pins: dotted key -> value, or list of allowed values, that the number also depends on: a run
            of the experiment that differs here is not comparable.
        unknown: what the paper leaves open although the number depends on it, such as its scale;
            our number is then shown without a verdict. "" for nothing.
    """

    id: str
    where: str
    metric: str
    config: dict[str, Any]
    published: float
    note: str = ""
    tolerance: float = 0.005
    pins: dict[str, Any] = field(default_factory=dict)
    unknown: str = ""


def load_claims(path: Path) -> list[Claim]:
    """The claims in a family's `claims.yaml`.

    The file holds `claims`, a list with the fields of `Claim`, and optionally `config` and `pins`
    that all claims share. Config keys are dotted or nested.

    Raises:
        ConfigError: listing every mistake with its line.
    """
    content, lines = read_file(path)
    problems: list[WeftError] = []
    claims: list[Claim] = []
    entries = content.get("claims")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError("`claims` must be a list of claims", where=str(path))
    shared, pinned = (dotted(content.get(name) or {}) for name in ("config", "pins"))
    known = [entry.name for entry in fields(Claim)]
    required = ("id", "where", "metric", "published")
    for number, entry in enumerate(entries):
        place: KeyPath = ("claims", str(number))
        where = f"{path}:{min(line for key, line in lines.items() if key[:2] == place)}"
        wrong = [f"unknown key `{key}`" for key in entry if key not in known]
        wrong += [f"`{key}` is missing" for key in required if key not in entry]
        wrong += [
            f"`{key}` must be a number, not `{entry[key]}`"
            for key in ("published", "tolerance")
            if key in entry and not is_number(entry[key])
        ]
        problems += [
            ConfigError(text, where=where, expected=f"keys {', '.join(known)}") for text in wrong
        ]
        if not wrong:
            own, pins = (dotted(entry.get(name) or {}) for name in ("config", "pins"))
            config = {**shared, **own}
            kept = {key: value for key, value in {**pinned, **pins}.items() if key not in config}
            claims.append(Claim(**{**entry, "config": config, "pins": kept}))
    repeated = {c.id for c in claims if sum(c.id == other.id for other in claims) > 1}
    problems += [
        ConfigError(f"the id `{name}` is used twice", where=str(path)) for name in sorted(repeated)
    ]
    if problems:
        raise ConfigError(problems)
    return claims


def compare(claims: Iterable[Claim], runs: Iterable[Run]) -> Table:
    """Published numbers beside the mean and standard error of our finished runs.

    A run counts for a claim if its config has every value of the claim's `config` and `pins`; a pin
    that the config lacks, as that of an older weft may, is not held against the run. If matching
    runs differ in more than the seed, the setting with the most steps is used, then the one with
    the most seeds, then the newest; never the one with the best result. Of several runs of one seed
    the newest counts.

    The verdict is one of:
        met: |ours - published| <= tolerance, that is, our mean rounds to the published number or
            lies in its band;
        better, worse: otherwise, by the direction that the runs declare;
        above, below: otherwise, if they declare none, as runs of an older weft;
        not comparable: the matching runs differ in a pin, which the note names, or the paper leaves
            open what the number depends on;
        not run: no finished run matches.
    The standard error is printed for the reader and does not change the verdict. A run that ended
    in NaN counts and makes the mean NaN, which is worse than any number.
    """
    finished = [(run, dotted(run.config)) for run in runs if run.state == "finished"]
    remarks = _Remarks()
    rows = tuple(_row(claim, finished, remarks) for claim in claims)
    return Table(
        columns=(
            Column("claim", role="text"),
            Column("where", role="text"),
            Column("metric", role="text"),
            Column("better", role="text"),
            Column("unit", role="text"),
            Column("published"),
            Column("ours"),
            Column("seeds", role="text"),
            Column("steps"),
            Column("seconds", title="best time", unit="s"),
            Column("device", role="text"),
            Column("verdict", role="status"),
            *([Column("note", role="text")] if any(row["note"] for row in rows) else []),
        ),
        rows=rows,
        note=remarks.note(rows),
    )


@dataclass
class _Remarks:
    """What the note below a table of claims has to say.

    Attributes:
        several: claims that runs of several settings match.
        differing: claims whose runs differ in pins, with these.
        left_open: what the paper leaves open -> claims that depend on it.
    """

    several: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    left_open: dict[str, list[str]] = field(default_factory=dict)

    def note(self, rows: Iterable[Mapping[str, Cell]]) -> str:
        """The note below the table with these rows."""
        note = (
            "met: our mean lies within the claim's tolerance of the published number, which is "
            "half a unit of its last digit, or half a band around it; better, worse: beyond it, by "
            "which way the metric improves"
        )
        if any(row["verdict"] in ("above", "below") for row in rows):
            note += "; above, below: the runs do not say which way that is"
        if self.differing:
            note += (
                "; not comparable: our runs differ from what the number depends on, for "
                f"{', '.join(self.differing)}"
            )
        for what, ids in self.left_open.items():
            note += f"; not comparable: {', '.join(ids)}, of which the paper leaves open {what}"
        if self.several:
            note += (
                f"; runs of several lengths or settings match {', '.join(self.several)}: "
                "the longest are shown, then those with the most seeds"
            )
        return note


def _row(
    claim: Claim, finished: Iterable[tuple[Run, Mapping[str, Any]]], remarks: _Remarks
) -> Mapping[str, Cell]:
    """A claim's row of the table; `finished` are the finished runs with their dotted configs."""
    row: dict[str, Cell] = {
        "claim": claim.id,
        "where": claim.where,
        "metric": claim.metric,
        "published": float(claim.published),
        "verdict": NOT_RUN,
        "note": "; ".join(filter(None, (claim.unknown, claim.note))),
    }
    settings: dict[tuple[int, str], list[Run]] = {}
    differing: dict[str, None] = {}
    for run, config in finished:
        if not _matches(config, claim.config) or claim.metric not in run.metrics:
            continue
        broken = [key for key, value in claim.pins.items() if not _holds(config, key, value)]
        differing |= dict.fromkeys(broken)
        if not broken:
            settings.setdefault((_steps(run), same_setting(config)), []).append(run)
    if differing and not settings:
        row["verdict"] = NOT_COMPARABLE
        remark = f"{claim.id} ({', '.join(differing)})"
        remarks.differing += [remark] if remark not in remarks.differing else []
    if settings:
        row |= _ours(claim, max(settings.values(), key=_weight))
        if claim.unknown:
            row["verdict"] = NOT_COMPARABLE
            remarks.left_open.setdefault(claim.unknown, []).append(claim.id)
        if len(settings) > 1:
            remarks.several.append(claim.id)
    return row


def matched(family: Family, runs: Iterable[Run]) -> Table | None:
    """The table of those of the family's claims that some of `runs` match; None if none do."""
    path = family.home / "claims.yaml"
    if not path.is_file():
        return None
    table = compare(load_claims(path), runs)
    rows = tuple(row for row in table.rows if row["verdict"] != NOT_RUN)
    return replace(table, rows=rows) if rows else None


def by_metric(table: Table) -> list[Table]:
    """A table of `compare` as one narrower table for each metric, for a terminal or a page.

    The title gives the metric's unit and direction if some run declares them; the note is put
    below the last table.
    """
    shown = ("where", "published", "ours", "seeds", "steps", "seconds", "verdict")
    columns = tuple(column for column in table.columns if column.key in shown)
    tables = []
    for name in dict.fromkeys(str(row["metric"]) for row in table.rows):
        rows = tuple(row for row in table.rows if row["metric"] == name)
        unit, better = (
            next((str(row[key]) for row in rows if row.get(key)), "") for key in ("unit", "better")
        )
        tables.append(Table(columns, rows, title=measured(name, unit, better)))
    arrows = ", ".join(f"{arrow} {better} is better" for better, arrow in ARROWS.items())
    return [*tables[:-1], *(replace(last, note=f"{arrows}; {table.note}") for last in tables[-1:])]


def _ours(claim: Claim, runs: list[Run]) -> dict[str, Cell]:
    by_seed = {run.config.get("seed"): run for run in sorted(runs, key=_started)}
    used = list(by_seed.values())
    ours = mean_of([run.metrics[claim.metric] for run in used])
    metric = find(used[-1].declared, claim.metric)
    return {
        "ours": ours,
        "seeds": len(used),
        "steps": _steps(runs[0]),
        "seconds": min(run.seconds for run in used),
        "device": ", ".join(dict.fromkeys(run.device for run in used)),
        "verdict": _verdict(ours.value, claim, metric),
        "better": metric.better if metric else None,
        "unit": metric.unit if metric else None,
    }


def _verdict(ours: float, claim: Claim, metric: Metric | None) -> str:
    # 1e-9, so that rounding does not exclude a mean exactly at the edge.
    if abs(ours - claim.published) <= claim.tolerance + 1e-9:
        return "met"
    if math.isnan(ours):
        return "worse"
    if metric is None:
        return "above" if ours > claim.published else "below"
    return "better" if metric.improves(ours, claim.published) else "worse"


def _matches(config: Mapping[str, Any], wanted: dict[str, Any]) -> bool:
    # Backwards, since a claim's own values come last and fail sooner than those all claims share.
    for key in reversed(wanted):
        if key not in config or not same_value(config[key], wanted[key]):
            return False
    return True


def _holds(config: Mapping[str, Any], key: str, value: Any) -> bool:
    allowed = value if isinstance(value, list) else [value]
    return key not in config or any(same_value(config[key], each) for each in allowed)


def _weight(runs: list[Run]) -> tuple[int, int, str]:
    seeds = {run.config.get("seed") for run in runs}
    return _steps(runs[0]), len(seeds), max(map(_started, runs))


def _steps(run: Run) -> int:
    return int(run.resolved["total_steps"])


def _started(run: Run) -> str:
    return str(run.status.get("started", ""))
