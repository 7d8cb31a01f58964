"""`weft reproduce all --budget smoke`: all five families in minutes, every table printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weft import families
from weft.cli import main


@pytest.mark.slow
def test_all_families_are_reproduced_on_the_smallest_budget(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "all", "--budget", "smoke", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left"] == 0
    titles = [table["title"] for table in told["tables"]]
    assert all(f"{name}: what was trained" in titles for name in families.names())
    text = Path(told["results"]).read_text()
    assert all(title in text for title in titles)
    # Nothing is left to do: the same command prints the same.
    assert main(["reproduce", "all", "--budget", "smoke", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told


def test_training_words_without_a_budget_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["all"], ["cet", "jepa"], ["cet", "--minutes", "1"]):
        assert main(["reproduce", *words]) == 2
        assert "--budget" in capsys.readouterr().err
