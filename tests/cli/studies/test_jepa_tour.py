"""The walk-through says what the command prints, and knows every old key."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft.families.jepa.options.aliases import ALIASES
from weft.studies.jepa_tour import main

PAGE = (Path(__file__).parents[3] / "docs" / "jepa-walkthrough.md").read_text()


def test_the_page_shows_what_its_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed in PAGE
    # The shapes that the notes of the README report.
    for shape in ("(32, 17, 1, 28, 28)", "(17, 32, 1, 28, 28)", "(544, 1, 28, 28)", "(544, 512)",
                  "(17, 32, 512)", "(32, 16, 1, 2)", "(16, 32, 2)"):  # fmt: skip
        assert shape in printed


def test_three_dots_lengthen_the_third_axes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("dataset_type=Multiple", "model.channels=3", "batch_size=4", "objective=simclr",
             "model.embedding_size=16")  # fmt: skip
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "(4, 17, 3, 28, 28)" in printed
    assert "(4, 16, 3, 2)" in printed
    assert "nt_xent" in printed


def test_a_mistake_is_named_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model.embeding_size=16"]) == 2
    assert "did you mean `model.embedding_size`?" in capsys.readouterr().err


def test_the_page_lists_every_old_key() -> None:
    missing = [key for key in ALIASES if f"`{key}`" not in PAGE]
    assert missing == []
