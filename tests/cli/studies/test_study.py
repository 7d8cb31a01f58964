"""`weft study`: lists the studies of all families, and runs one by its name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from weft import families, studies
from weft.cli import main
from weft.config.family import Family
from weft.errors import RunError

NAMES = {"contexts", "controls", "gaussvae-rd", "growth", "plans", "probes", "rates", "sampling",
         "stream", "tour"}  # fmt: skip


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second family with a study `tour`, and one that does not load."""
    real, names = families.find, families.names()

    def find(name: str) -> Family:
        if name == "broken":
            raise RunError("does not load")
        if name == "other":
            return replace(real("cet"), studies={"tour": "weft.studies.nowhere:main"})
        return real(name)

    monkeypatch.setattr(families, "find", find)
    monkeypatch.setattr(families, "names", lambda: ["broken", *names, "other"])


def test_alone_it_lists_every_study_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if not line.startswith(" ")} == NAMES
    assert "prints one table and a verdict on each" in " ".join(" ".join(lines).split())
    assert main(["study", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["study"] for row in rows} == NAMES and all(row["about"] for row in rows)


def test_an_unknown_name_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "controlls", "feedback/text"]) == 2
    assert "did you mean `controls`?" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_study_shows_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", name, "--help"]) == 0
    output = capsys.readouterr().out
    assert f"usage: weft study {name} " in output
    # Its sentence, however the terminal breaks it.
    assert studies.about(studies.paths()[name])[:40] in " ".join(output.split())


def test_a_study_s_exit_code_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "contexts", "nowhere", "--contexts", "4"]) == 2
    assert "there is no such run, here or below runs   (nowhere)" in capsys.readouterr().err
    assert main(["study", "contexts", "--nonsense"]) == 2
    assert main(["study", "tour", "batch_size=none"]) == 2


def test_families_that_share_a_name_are_told_apart_and_a_broken_one_is_left_out(
    declared: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if not line.startswith(" ")} == {
        "contexts", "controls", "gaussvae-rd", "jepa/tour", "other/tour", "plans", "probes",
        "rates", "sampling", "stream",
    }  # fmt: skip
    assert main(["study", "jepa/tour", "--help"]) == 0
    assert "there is no module" in studies.about(studies.paths()["other/tour"])
