"""Commands that are printed can be pasted, whatever the paths in them are called."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import weft
from weft import api
from weft.errors import Interrupted, WeftError
from weft.shell import quoted, spelt

HOME = Path(str(weft.__file__)).parent
VERBS = "train|resume|evaluate|sample|report|sweep|runs|compare|export|data pack"
SHORT = ("steps=2", "log.tensorboard=false")


@pytest.mark.parametrize(
    "name", ["-x", "--help", "-a b", "it's", "two words", "plain", "/-x", "a/-x"]
)
def test_a_path_is_one_word_and_no_option(name: str) -> None:
    (word,) = shlex.split(quoted(Path(name)))
    assert os.path.normpath(word) == name and not word.startswith("-")


def test_an_option_stays_one() -> None:
    assert spelt("sweep", "a b", "--dir", Path("-d")) == "weft sweep 'a b' --dir ./-d"


def test_no_command_is_put_together_around_a_bare_path() -> None:
    bare = re.compile(rf"weft ({VERBS})\b[^\"`]*\{{[\w.]*(path|folder|root|directory|file|where)\b")
    found = [
        f"{path.relative_to(HOME)}:{number}"
        for path in HOME.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []


def commands(text: str) -> list[list[str]]:
    """The commands of weft in an error or a page, as a shell splits them."""
    found = re.findall(rf"(?:^ *|`|<pre>)(weft (?:{VERBS}) .*?)(?:`|</pre>|$)", text, re.MULTILINE)
    return [shlex.split(unescape(command)) for command in found]


def test_every_command_that_errors_and_pages_print_names_the_run(toy: str, workspace: Path) -> None:
    name = "-a run's"
    run = api.train(toy, *SHORT, run={"dir": name})
    assert run is not None
    wrong: dict[str, Callable[[], Any]] = {
        "again": lambda: api.train(toy, *SHORT, run={"dir": name}),
        "resume": lambda: api.resume(run.path),
        "no length": lambda: api.train(run.path, "log.every=2"),
        "no run": lambda: api.evaluate(run.path.parent / "-none"),
        "interrupted": lambda: (_ for _ in ()).throw(Interrupted("SIGTERM", name)),
    }
    told = {}
    for what, call in wrong.items():
        with pytest.raises(WeftError) as caught:
            call()
        told[what] = str(caught.value)
    told["page"] = (run.path / "report.html").read_text()
    for what, text in told.items():
        words = [word for command in commands(text) for word in command[2:]]
        named = [word for word in words if name in word]
        assert named or what == "no run", text
        assert all(word.startswith(f"./{name}") for word in named), (what, named)
