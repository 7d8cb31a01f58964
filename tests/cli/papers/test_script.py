"""What all command lines of their own share: words, `--set`, notes, folders, exit codes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from weft import api
from weft.errors import ConfigError, Interrupted, PlaceTaken, RunError, UsageError
from weft.papers import script
from weft.run.directory import RunDirectory
from weft.run.registry import Run


def test_blank_words_are_left_out_and_the_process_s_are_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[str]] = []
    assert script.run(seen.append, ["--norm=", " ", "\t", "x"]) == 0
    monkeypatch.setattr(sys, "argv", ["script.py", "a", " "])
    assert script.run(seen.append) == 0
    assert seen == [["--norm=", "x"], ["a"]]


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RunError("broken", where="runs/a"), 1, "run error: broken   (runs/a)"),
        (UsageError("no such flag"), 2, "usage error: no such flag"),
        (Interrupted("SIGINT", "runs/a"), 130, "weft resume runs/a"),
        (Interrupted("SIGTERM", "runs/a"), 143, "stopped by SIGTERM"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_an_error_is_told_without_a_traceback_and_gives_its_exit_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(words: list[str]) -> None:
        raise error

    assert script.run(work, []) == code
    output = capsys.readouterr()
    assert told in output.err
    assert "Traceback" not in output.err and output.out == ""


def test_what_no_one_foresaw_is_raised_on() -> None:
    def work(words: list[str]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        script.run(work, [])


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["--nonsense"], 2)])
def test_what_argparse_ends_is_an_exit_code_too(words: list[str], code: int) -> None:
    parser = argparse.ArgumentParser("x")
    assert script.run(lambda given: void(parser.parse_args(given)), words) == code


def void(result: object) -> None:
    """Nothing, whatever is given."""


def test_of_two_settings_for_one_key_the_last_counts() -> None:
    parser = argparse.ArgumentParser("x")
    script.add_set(parser)
    given = parser.parse_args(["--set", "a.b=1", "--set", "c=x=y", "--set", "a.b=[2, 3]"]).set
    assert script.settings(given) == {"a.b": [2, 3], "c": "x=y"}


def test_a_word_that_sets_nothing_is_refused_with_its_flag() -> None:
    with pytest.raises(UsageError, match="`steps` sets nothing") as caught:
        script.settings(["steps"], "--values")
    assert caught.value.where == "--values"


def test_settings_win_and_take_with_them_what_they_leave_without_a_meaning() -> None:
    values = {"epochs": 3, "schedule.kind": "cosine", "schedule.warmup": 0.1, "optim.lr": 1}
    assert script.overlay(values, ["steps=2", "optim.lr=5", "schedule.kind=constant"]) == {
        "epochs": None, "steps": 2, "schedule.kind": "constant", "optim.lr": 5,
    }  # fmt: skip
    # The kind that there is keeps its options.
    assert script.overlay(values, ["schedule.kind=cosine"]) == values


def test_config_errors_name_the_flag_or_the_file_that_a_value_came_from() -> None:
    keys = ("a", "b", "c")
    with pytest.raises(ConfigError) as caught, script.told(["a=1"], {"a": "old", "b": "my.json:3"}):
        raise ConfigError([UsageError("wrong", where=f"argument `{key}`") for key in keys])
    assert [p.where for p in caught.value.problems] == ["--set a=1", "my.json:3", "argument `c`"]


def test_a_folder_that_is_taken_gets_the_first_free_number(tmp_path: Path) -> None:
    assert script.unused(tmp_path / "a") == tmp_path / "a"
    for name in ("a", "a-2"):
        (tmp_path / name).mkdir()
    assert script.unused(tmp_path / "a") == tmp_path / "a-3"


def test_scripts_of_one_second_that_chose_the_same_folder_choose_again(
    toy: str, workspace: Path, without_pictures: None
) -> None:
    # Both saw that the folder was free, and the other one was faster.
    others = RunDirectory(workspace / "250430")
    others.path.mkdir()
    others.lock()
    (others.path / "config.yaml").touch()
    names = iter(["250430", "250430-2"])

    def train(folder: str) -> Run | None:
        return api.train(toy, "steps=1", run={"dir": folder})

    run = script.in_new_folder(lambda: workspace / next(names), train)
    others.unlock()
    assert run is not None and run.path == workspace / "250430-2"
    with pytest.raises(PlaceTaken, match="elsewhere"):
        script.in_new_folder(lambda: workspace / "x", _taken_elsewhere)


def _taken_elsewhere(folder: str) -> None:
    raise PlaceTaken("taken elsewhere", where="another folder")
