"""Words that a command does not take are told with the command's form and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft.cli import main


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("runs night", "did you mean `weft runs --root night`?"),
        ("runs here there", "did you mean `weft runs --root FOLDER`?"),
        ("data get one two", "expected `weft data get NAME [--OPTION ...]`"),
        ("evaluate", "expected `weft evaluate RUN [--OPTION ...]`"),
        ("runs --wher x", "`weft runs --help` says more"),
        ("config shwo", "expected one of show, schema"),
        ("trian", "Did you mean 'train'?"),
    ],
)
def test_a_command_that_is_misread_says_what_it_takes(
    words: str, says: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "night").mkdir()
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert says in said and "COMMAND" not in said
    assert "--root" not in said or words.startswith("runs ")
