"""`weft reproduce all --budget smoke`: all five families in minutes, every table printed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from weft import api, families
from weft.cli import main


@pytest.mark.slow
def test_all_families_are_reproduced_on_the_smallest_budget(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "all", "--budget", "smoke", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left"] == 0
    titles = [table["title"] for table in told["tables"]]
    assert all(f"{name}: trained" in titles for name in families.names())
    text = Path(told["results"]).read_text()
    assert all(title in text for title in titles)
    # Nothing is left to do: the same command prints the same.
    assert main(["reproduce", "all", "--budget", "smoke", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told


@pytest.mark.slow
def test_half_a_minute_of_the_gpu_s_budget_hands_all_but_weights_back(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", "warp", "--budget", "gpu", "--minutes", "0.5", "--out", "back", "--json"]
    begun = time.monotonic()
    assert main(words) == 0
    assert time.monotonic() - begun < 210  # half of one, and what saving takes on a loaded machine
    told = json.loads(capsys.readouterr().out)
    home = Path("back/reproduce/gpu")
    assert (home / "results.md").read_text() == Path(told["results"]).read_text()
    assert not any(path.suffix in (".pt", ".safetensors") for path in home.rglob("*"))
    learnt = api.runs("back")
    # A CPU finishes none of these in that time: what they reached is there, and goes on at home.
    rows = {run.path.relative_to(home) / "metrics.jsonl" for run in learnt}
    there = Path(told["results"]).parent
    assert rows and all((home / row).read_text() == (there / row).read_text() for row in rows)
    assert all(run.status["seconds"] > 0 and run.env["device_name"] for run in learnt)


def test_training_words_without_a_budget_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["all"], ["cet", "jepa"], ["cet", "--minutes", "1"], ["cet", "--out", "x"]):
        assert main(["reproduce", *words]) == 2
        assert "--budget" in capsys.readouterr().err
