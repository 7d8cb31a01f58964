"""Pages of many runs in a real browser: offline, silent, sorted, filtered, printed."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli import browser
from tests.unit.reports.runs import CONFIG, run
from weft import api

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PROGRAM is None, reason="there is no Chromium"),
]
RUNS = 300


def _write(folder: Path, number: int) -> None:
    order, delay, seed = number % 10, number // 10 % 10, number // 100
    place = folder / f"grid/order={order},delay={delay},seed={seed}"
    place.mkdir(parents=True)
    draws = random.Random(number)
    metrics: dict[str, float | None] = {
        "test/accuracy": draws.random(), "test/loss": 10 ** draws.uniform(-3, 3)
    }  # fmt: skip
    made = run(place, metrics=metrics, order=order, delay=delay, seed=seed)
    plain: dict[str, Any] = {**CONFIG, "order": order, "delay": delay, "seed": seed}
    (place / "config.yaml").write_text(yaml.safe_dump(plain))
    (place / "resolved.yaml").write_text(yaml.safe_dump({**made.resolved, "batches_per_epoch": 9}))
    (place / "status.json").write_text(json.dumps(made.status))
    (place / "env.json").write_text(json.dumps(made.env))
    rows = [
        {"step": step, "epoch": step / 9, "seconds": step / 10, "val/accuracy": draws.random()}
        for step in range(1, 2000, 10)
    ]
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(RUNS):
        _write(folder, number)
    return api.report(folder)


COLUMN = "[...document.querySelectorAll('.runs tbody tr')].map(r => r.cells[{}].textContent)"
HEADS = "[...document.querySelectorAll('.runs th')].map(h => h.textContent)"


def test_a_page_of_300_runs_opens_at_once_and_sorts_and_filters(page: Path, tmp_path: Path) -> None:
    assert page.stat().st_size < 5e6
    with browser.opened(tmp_path / "profile") as shown:
        started = time.perf_counter()
        shown.open(page)
        assert shown.ask("document.querySelectorAll('.runs tbody tr').length") == RUNS
        assert time.perf_counter() - started < 10  # The aim is 2 s; a busy machine takes longer.
        column = shown.ask(HEADS).index("test/loss (nats) ↓")
        press = f"document.querySelectorAll('.runs th')[{column}].querySelector('button').click()"
        for falling in (False, True):
            shown.ask(press)
            values = [float(text.replace(",", "")) for text in shown.ask(COLUMN.format(column))]
            assert values == sorted(values, reverse=falling)
        shown.ask(
            "const field = document.querySelector('.filter input');"
            "field.value = 'order=3, seed=1';"
            "field.dispatchEvent(new Event('input'))"
        )
        assert shown.ask("document.querySelectorAll('.runs tbody tr:not([hidden])').length") == 10
        assert shown.ask("document.querySelector('.filter [role=status]').textContent") == (
            f" 10 of {RUNS}"
        )
        assert len(shown.call("Page.printToPDF")["data"]) > 10_000
        assert shown.complaints == []
        assert shown.fetched == [page.as_uri()]


def test_a_narrow_page_scrolls_inside_its_cards_alone(page: Path, tmp_path: Path) -> None:
    with browser.opened(tmp_path / "profile", width=420) as shown:
        shown.open(page)
        wide = shown.ask(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0
