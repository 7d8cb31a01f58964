"""`weft study`: lists the studies of all families, and runs one by its name."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import pytest

from weft import api, families, studies
from weft.cli import main
from weft.config.family import Family
from weft.errors import RunError
from weft.papers import script

NAMES = {"contexts", "controls", "costs", "gaussvae-rd", "growth", "plans", "probes", "rates",
         "sampling", "stream", "tour"}  # fmt: skip


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
    assert "prints a table and a verdict on each arm" in " ".join(" ".join(lines).split())
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


@pytest.fixture(params=sorted(NAMES))
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ArgumentParser:
    """What reads the words of a study."""
    found: list[ArgumentParser] = []

    def kept(parser: ArgumentParser, words: list[str]) -> None:
        found.append(parser)
        raise SystemExit(0)

    monkeypatch.setattr(script, "parsed", kept)
    assert main(["study", request.param]) == 0
    monkeypatch.undo()
    return found[0]


def test_words_may_stand_behind_options(parser: ArgumentParser) -> None:
    flags = [each for each in parser._actions if each.option_strings and each.nargs is None]
    several = [each.dest for each in parser._actions if each.nargs in ("*", "+")
               and not each.option_strings]  # fmt: skip
    for flag in flags:
        for dest in several:
            value = "a:" if flag.type is script.form else "2"
            words = ["cet/digits", flag.option_strings[0], value, "delay=1"]
            given = script.parsed(parser, words)
            assert [*map(str, getattr(given, dest))] == ["cet/digits", "delay=1"], flag.dest


def test_numbers_out_of_range_are_refused(
    parser: ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    others = (None, Path, script.form, script.split)
    numbers = [each for each in parser._actions if each.type not in others]
    for each in numbers:
        wrong = ["x", "nan", "inf", "1e3000", *["-1"] * (each.type is not script.finite)]
        for text in wrong:
            with pytest.raises(SystemExit) as ended:
                script.parsed(parser, [f"{each.option_strings[0]}={text}", "word"])
            assert ended.value.code == 2
            assert f"argument {each.option_strings[0]}: `{text}` is" in capsys.readouterr().err


def test_a_run_of_another_family_is_refused_before_anything_is_printed(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("hidden_dim=4", "steps=1", "log.tensorboard=false")
    api.train("cet/digits", *words, report=False, **{"run.dir": "other"})
    capsys.readouterr()
    for name, more in {"contexts": (), "gaussvae-rd": (), "plans": (), "probes": (), "stream": (),
                       "sampling": ("--judge", "other")}.items():  # fmt: skip
        assert main(["study", name, "other", *more]) == 2, name
        out, err = capsys.readouterr()
        assert out == "" and "usage error: " in err and "other" in err, name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("costs", "cet/digits", "--form", "hidden_dim=8"), "has no colon: NAME:WORDS"),
        (("rates", "cet/digits", "--form", "hidden_dim=8", "--out", "x"), "has no colon"),
        (("costs", "cet/digits", "--form", "a:'x"), "into words: No closing quotation"),
        (("rates", "cet/digits", "--final", "'x", "--out", "x"), "cannot be split into words"),
        (("rates", "cet/digits", "seed=0,1", "--rates", "1e-3", "--out", "x"), "own seeds"),
        (("rates", "cet/digits", "seed=1", "--rates", "1e-3", "--out", "x"), "own seeds"),
        (("growth", "--picture", "x.foo"), "expected a name ending in .svg or .png"),
        (("growth", "--picture", "file/x.svg"), "`file` is no folder"),
        (("rates", "cet/digits", "data.use_val=true", "--rates", "1e-3", "--out", "file/x"),
         "`file` is no folder"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_option_is_told_before_anything_is_computed(
    words: tuple[str, ...], says: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    assert main(["study", *words]) == 2
    out, err = capsys.readouterr()
    assert says in " ".join(err.split()) and out == ""
    assert [path.name for path in workspace.iterdir()] == ["file"]


@pytest.mark.parametrize("words", [("rates", "--table"), ("contexts", "--rows")])
def test_files_that_hold_no_rows_are_told(
    words: tuple[str, ...], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("odd").write_bytes(b'{"form": "a", "chosen": false}\n\xff{')
    for file, says in {"none": "no file `none`", "odd": "(odd:"}.items():
        assert main(["study", *words, file]) == 2
        assert says in capsys.readouterr().err


def test_families_that_share_a_name_are_told_apart_and_a_broken_one_is_left_out(
    declared: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = {line.split()[0] for line in lines if not line.startswith(" ")}
    assert told == NAMES - {"tour"} | {"jepa/tour", "other/tour"}
    assert main(["study", "jepa/tour", "--help"]) == 0
    assert "there is no module" in studies.about(studies.paths()["other/tour"])


# `growth` measures single steps of every family for half a minute, and says which.
@pytest.mark.parametrize("name", sorted(NAMES - {"growth"}))
def test_without_words_no_study_trains(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for way in ("weft.engine.loop.Trainer.train", "weft.sweeps.pool.run_points"):
        monkeypatch.setattr(way, lambda *_, **__: pytest.fail("it trains"))
    assert main(["study", name]) in (0, 2)
    printed = capsys.readouterr()
    assert printed.out or printed.err
    assert not list(tmp_path.iterdir())
