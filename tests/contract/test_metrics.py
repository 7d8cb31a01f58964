"""Every family's metrics are declared, and read the right way round wherever they are shown."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.reports.runs import run
from weft import api, families
from weft.reports.claims import Claim, by_metric, compare, load_claims
from weft.reports.html import published
from weft.reports.overview import write_overview
from weft.reports.tables import Table, rich_table
from weft.reports.written import as_json
from weft.run.registry import Run
from weft.task.load import load_task
from weft.task.metric import Metric, find

ERRORS = re.compile("mse|mae|mape|nll|bpd|loss|cce|error|miss")
SCORES = re.compile("accuracy|exact_match|f1|psnr|ssim|success")


def declared_of(name: str) -> tuple[Metric, ...]:
    """What the family measures on its default preset."""
    family = families.find(name)
    return load_task(family, api.configure(f"{name}/{family.default}").config).metrics


def claimed_of(name: str) -> list[Claim]:
    return load_claims(families.find(name).home / "claims.yaml")


def names_of(name: str) -> list[str]:
    """The family's claimed metrics, and the one that selects its best weights."""
    selects = f"test/{declared_of(name)[0].name}"
    return list(dict.fromkeys([selects, *(claim.metric for claim in claimed_of(name))]))


def run_of(name: str, metric: str, value: float) -> Run:
    """A run of the family as its files would tell it."""
    made = run(metrics={metric: value}, status={"declared": [m.plain() for m in declared_of(name)]})
    return replace(made, config={**made.config, "family": name})


def beside(name: str, metric: str, value: float) -> Table:
    """`value` beside a published 2.0."""
    claim = Claim("claim", "Table 1", metric, {"family": name}, published=2.0)
    return compare([claim], [run_of(name, metric, value)])


def terminal(table: Table) -> str:
    console = Console(file=io.StringIO(), width=200, color_system="standard", force_terminal=True)
    console.print(*map(rich_table, by_metric(table)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("name", families.names())
def test_every_claim_is_about_a_declared_metric(name: str) -> None:
    metrics = declared_of(name)
    assert [c.id for c in claimed_of(name) if find(metrics, c.metric) is None] == []


@pytest.mark.parametrize("name", families.names())
def test_errors_fall_and_scores_rise(name: str) -> None:
    for metric in declared_of(name):
        if SCORES.search(metric.name) and not metric.name.endswith("_se"):
            assert metric.better == "higher", metric.name
        elif ERRORS.search(metric.name):
            assert metric.better == "lower", metric.name
        assert metric.about, metric.name


@pytest.mark.parametrize("name", families.names())
def test_beyond_the_published_number_is_better_or_worse_by_what_is_measured(name: str) -> None:
    for metric in names_of(name):
        fall = bool(ERRORS.search(metric))
        assert fall != bool(SCORES.search(metric))
        unit = next(m.unit for m in declared_of(name) if m.covers(metric))
        for value, good in ((1.0, fall), (3.0, not fall)):
            table, word = beside(name, metric, value), "better" if good else "worse"
            (row,) = as_json(table)["rows"]
            assert (row["verdict"], row["unit"]) == (word, unit)
            assert row["better"] == ("lower" if fall else "higher")
            colour, tone = ("32", "good") if good else ("31", "bad")
            assert f"\x1b[{colour}m{word}" in terminal(table)
            assert f'<td class="{tone}">{word}</td>' in published(table)


@pytest.mark.parametrize("name", families.names())
def test_the_table_of_a_paper_says_unit_direction_and_how_to_read_it(name: str) -> None:
    metric = names_of(name)[0]
    declared = find(declared_of(name), metric)
    assert declared is not None
    shown = terminal(beside(name, metric, 1.0))
    arrow = "↓" if declared.better == "lower" else "↑"
    assert " ".join([metric, *[f"({declared.unit})"] * bool(declared.unit), arrow]) in shown
    assert "better, worse: beyond" in shown


def test_a_page_of_runs_shows_the_claims_that_they_match(tmp_path: Path) -> None:
    table = beside("jepa", "test/rmse_px", 3.0)
    text = write_overview(tmp_path, [], [], claims=[table]).read_text(encoding="utf-8")
    assert "Published and ours" in text and "test/rmse_px (px) ↓" in text
    assert '<td class="bad">worse</td>' in text


@pytest.mark.parametrize("recipe", [*families.names(), "gaussvae/cifar10", "cet/cartpole-delayed"])
def test_what_a_metric_says_stands_alone_under_its_figure(recipe: str) -> None:
    config = api.configure(recipe).config
    for metric in load_task(families.find(config.family), config).metrics:
        assert metric.about.endswith("."), metric
        assert not re.match("The same|That|Such", metric.about), metric
        # Words, not a formula of other metrics' names, which the reader of a page has not met.
        assert metric.about[0].isupper() and len(metric.about.split()) >= 3, metric
        assert not re.search(r"\w [-+/*] \w", re.sub(r"\(.*?\)", "", metric.about)), metric
