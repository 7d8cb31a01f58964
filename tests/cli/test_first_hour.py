"""The first hour: every command of docs/start.md, the README and the gallery is carried out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.documents import carried_out
from tests.cli.test_documents import ROOT, commands
from weft import api

ELSEWHERE = {"make demo", "weft reproduce all --budget smoke"}
"""It installs; it has a test of its own."""


@pytest.mark.slow
def test_every_command_of_the_first_hour_is_carried_out(
    workspace: Path, without_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    walked = [each for each in commands(ROOT / "docs" / "start.md") if not each.mention]
    assert len(walked) == 25 and {each.text for each in walked} >= ELSEWHERE
    for command in walked:
        if command.text not in ELSEWHERE:
            # Nothing stopped the run that is resumed here: it is finished, says so, and stays.
            code = 2 if command.text.startswith("weft resume") else 0
            assert carried_out(command) == code, f"{command.text}\n{capsys.readouterr().err}"
    assert {run.state for run in api.runs()} == {"finished"}
    assert (workspace / "weft-mine").is_dir() or list(workspace.glob("*mine*"))


@pytest.mark.slow
@pytest.mark.parametrize(("page", "count"), [("README.md", 4), ("docs/gallery.md", 4)])
def test_every_command_that_a_stranger_sees_first_is_carried_out(
    page: str,
    count: int,
    workspace: Path,
    without_pictures: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    walked = [
        each for each in commands(ROOT / page) if each.text.startswith("weft ") and not each.mention
    ]
    assert len(walked) == count
    for command in walked:
        assert carried_out(command) == 0, f"{command.text}\n{capsys.readouterr().err}"
