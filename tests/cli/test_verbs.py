"""Commands that families add: listed, offered, called; broken ones break nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from weft import families
from weft.cli import app, main, verbs
from weft.config.family import Family
from weft.errors import DataError, RunError
from weft.verbs import OURS

HERE = "tests.cli.test_verbs"

Declare = Callable[..., None]


def measure(
    length: Annotated[int, typer.Argument(help="In steps.")],
    spoil: Annotated[bool, typer.Option("--spoil", help="Fail.")] = False,
) -> int:
    """Measure a length."""
    if spoil:
        raise DataError("the length is spoilt")
    print(f"{length} steps")
    return 3


def unreadable(length: Path | list[int]) -> None:
    """Take what no shell can give."""


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Gives cet the verbs of the first mapping and a second family those of the other."""
    real = families.find

    def install(first: Mapping[str, str], other: Mapping[str, str] | None = None) -> None:
        def find(name: str) -> Family:
            if name == "broken":
                raise RunError("does not load")
            return replace(real("cet"), verbs=first if name == "cet" else other or {})

        monkeypatch.setattr(families, "find", find)
        monkeypatch.setattr(families, "names", lambda: ["broken", "cet", "other"])
        monkeypatch.setattr(verbs, "entry_points", lambda group: ["other"])

    return install


def test_commands_that_are_listed_without_asking_are_those_of_weft_s_own_families() -> None:
    theirs = {
        verb: path for name in families.BUILT_IN for verb, path in families.find(name).verbs.items()
    }
    assert theirs == OURS


def test_a_family_s_command_is_called_with_its_words_and_gives_the_exit_code(
    declare: Declare, capsys: pytest.CaptureFixture[str]
) -> None:
    declare({"measure": f"{HERE}:measure", "data measure": f"{HERE}:measure"})
    for words in (["measure"], ["data", "measure"]):
        assert main([*words, "5"]) == 3
        assert capsys.readouterr().out == "5 steps\n"
        assert main([*words, "5", "--spoil"]) == DataError.exit_code
        assert "data error: the length is spoilt" in capsys.readouterr().err
        assert main([*words, "five"]) == 2
        assert "usage error" in capsys.readouterr().err


def test_it_is_listed_with_its_first_line_beside_weft_s_own(
    declare: Declare, capsys: pytest.CaptureFixture[str]
) -> None:
    declare({"measure": f"{HERE}:measure"}, {"data weigh": f"{HERE}:measure"})
    main(["--help"])
    outer = capsys.readouterr().out
    main(["data", "--help"])
    inner = capsys.readouterr().out
    assert "measure     Measure a length." in outer and "  weigh " not in outer
    assert "weigh  Measure a length." in inner and "measure  " not in inner
    main(["measure", "--help"])
    assert "In steps." in capsys.readouterr().out


def test_it_is_suggested_and_the_shell_is_offered_it(
    declare: Declare, capsys: pytest.CaptureFixture[str]
) -> None:
    declare({"measure": f"{HERE}:measure"})
    assert main(["meazure"]) == 2
    assert "Did you mean 'measure'?" in capsys.readouterr().err
    group: Any = typer.main.get_command(app)
    offered = group.shell_complete(
        group.make_context("weft", ["--help"], resilient_parsing=True), "me"
    )
    assert [item.value for item in offered] == ["measure"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("weft_nowhere.verbs:measure", "there is no module `weft_nowhere`"),
        (f"{HERE}:mesure", f"did you mean `{HERE}:measure`?"),
        (f"{HERE}:unreadable", "a function whose parameters typer knows to read"),
    ],
)
def test_one_that_cannot_be_had_is_told_as_its_author_s_and_breaks_nothing_else(
    path: str, said: str, declare: Declare, capsys: pytest.CaptureFixture[str]
) -> None:
    declare({"weigh": path, "measure": f"{HERE}:measure"})
    assert main(["--help"]) == 0
    assert "weigh       Broken: " in capsys.readouterr().out
    assert main(["measure", "5"]) == 3
    assert main(["weigh", "--heavy", "5"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("family error: command `weigh`") and said in error
    assert "mistake in weft" not in error


def test_one_that_two_families_bring_is_neither_s(
    declare: Declare, capsys: pytest.CaptureFixture[str]
) -> None:
    declare({"measure": f"{HERE}:measure"}, {"measure": "weft_nowhere.verbs:measure"})
    assert main(["measure", "5"]) == 1
    error = capsys.readouterr().err
    assert f"brought by {HERE}:measure and by weft_nowhere.verbs:measure" in error


def test_a_word_of_weft_s_own_keeps_its_meaning(
    declare: Declare, capsys: pytest.CaptureFixture[str]
) -> None:
    declare({"recipes": f"{HERE}:measure", "data list": f"{HERE}:measure"})
    assert main(["recipes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["recipe"]


def test_weft_s_own_commands_ask_no_family() -> None:
    code = (
        "import sys; from weft.cli import main; main(['data', 'list']); main(['train', '--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('weft.families' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False"
