"""What a newcomer meets: version, help, completion, names with a slip in them, narrow terminals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import weft
from weft import api
from weft.cli import main
from weft.config.sections import EngineConfig
from weft.engine.device import choose_device, seed_step
from weft.errors import CheckpointError, DeviceError, UsageError


def test_the_version_is_told_by_command_and_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"weft {version('weft')}\n"
    assert weft.__version__ == version("weft")


@pytest.mark.parametrize("words", [[], ["config"], ["data"]])
def test_without_a_command_help_is_shown_and_nothing_is_wrong(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: ") and "Commands:" in out
    assert err == ""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("weft re", {"report", "resume", "recipes", "reproduce"}),
        ("weft train cet/d", {"cet/digits"}),
    ],
)
def test_a_shell_is_told_how_a_word_goes_on(words: str, offered: set[str]) -> None:
    # The word that is being written is the last: COMP_CWORD counts from 0.
    code = "import sys; sys.argv[0] = 'weft'; from weft.cli import main; sys.exit(main())"
    asked = {"_WEFT_COMPLETE": "complete_bash", "COMP_WORDS": words}
    asked["COMP_CWORD"] = str(len(words.split()) - 1)
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True
    )
    assert set(done.stdout.split()) == offered, done.stderr


def test_completion_can_be_shown_and_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "--install-completion" in out and "--show-completion" in out


@pytest.mark.parametrize("words", [["data", "list"], ["recipes"], ["study"]])
def test_lists_fit_80_columns(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3 and max(map(len, lines)) <= 80
    assert not any("{" in line for line in lines)


def test_rows_of_a_table_are_folded_unless_they_are_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def listed(*words: str) -> int:
        assert main(["recipes", *words]) == 0
        return capsys.readouterr().out.count("idm.best")

    assert listed() == 0
    assert main(["recipes"]) == 0
    assert "jepa/… (144)" in capsys.readouterr().out
    assert (
        listed("--all") == listed("jepa") == listed("jepa/*.idm.*") > listed("jepa/*(3).idm*") > 0
    )
    assert main(["recipes", "jepa/*idx"]) == 2
    assert "no recipe is called `jepa/*idx`" in capsys.readouterr().err


@pytest.fixture
def done(toy: str, workspace: Path) -> Path:
    """A finished run, runs/toy/small."""
    run = api.train(toy, "steps=4", "log.tensorboard=false", report=False)
    assert run is not None
    return run.path


@pytest.mark.parametrize("verb", ["resume", "evaluate", "sample", "report"])
@pytest.mark.parametrize(
    ("word", "meant"),
    [("toy/smal", "toy/small"), ("runs/toy/smoll", "runs/toy/small"), ("small", "toy/small")],
)
def test_a_slip_in_the_name_of_a_run_gets_a_suggestion_and_the_command_that_lists_them(
    done: Path, capsys: pytest.CaptureFixture[str], verb: str, word: str, meant: str
) -> None:
    assert main([verb, word]) == 2
    message = capsys.readouterr().err
    assert f"did you mean `{meant}`?" in message
    assert f"({word})" in message and "`weft runs` lists them" in message


def test_a_run_is_named_as_a_path_or_as_family_and_name(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for word in ("toy/small", "runs/toy/small", str(done.absolute())):
        assert main(["evaluate", word, "--json"]) == 0
    assert main(["report", "toy/small"]) == 0
    assert capsys.readouterr().out.endswith("runs/toy/small/report.html\n")
    assert main(["report", "toy"]) == 0  # A folder of runs.
    assert main(["sample", "toy/small", "--json"]) == 0
    assert main(["resume", "toy/small"]) == 2
    assert "the run is finished" in capsys.readouterr().err
    assert sum(1 for _ in weft.load("toy/small").parameters()) == 4


def test_unknown_states_and_families_of_runs_get_a_suggestion(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--state", "finnished"]) == 2
    assert "did you mean `finished`?" in capsys.readouterr().err
    assert main(["runs", "--family", "tey"]) == 2
    assert "did you mean `toy`?" in capsys.readouterr().err
    assert main(["runs", "--state", "failed", "--family", "toy"]) == 0
    assert capsys.readouterr().out == "no runs of family toy and state failed below runs\n"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (
            "optim.kind=adamv",
            "expected optim.kind: sgd, adam, adamw or extra\n  did you mean `adam",
        ),
        ("optim=sgd", "did you mean `optim.kind=sgd`?"),
        ("optim=5", "expected optim.kind: sgd, adam, adamw or extra, with its options"),
        ("optim.momentum=0.9", "`momentum` is an option of optim.kind: sgd"),
        ("eval=5", "expected options below it: eval.every, eval.batch_size"),
    ],
)
def test_kinds_and_sections_are_named_as_a_user_writes_them(
    toy: str, capsys: pytest.CaptureFixture[str], word: str, says: str
) -> None:
    assert main(["config", "show", "toy/small", word]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert not any(name in message for name in ("Sgd", "AdamW", "EvalConfig"))


@pytest.mark.parametrize(
    ("given", "kept"), [("100", "100 steps"), ("1", "1 step"), ("2 epochs", "2 epochs")]
)
def test_a_bare_number_counts_steps(toy: str, given: str, kept: str) -> None:
    words = [
        f"{key}={given}" for key in ("eval.every", "checkpoint.every", "checkpoint.keep_every")
    ]
    config = api.configure(toy, *words).config
    found = {config.eval.every, config.checkpoint.every, config.checkpoint.keep_every}
    assert found == {kept}


@pytest.mark.parametrize("given", ["0", "-3", "1.5", "true", "[1]", "two steps", "'007x'"])
def test_what_is_no_cadence_is_refused(
    toy: str, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    assert main(["config", "show", toy, f"eval.every={given}"]) == 2
    assert "steps" in capsys.readouterr().err


def test_a_changed_config_is_accepted_where_it_is_named(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = done / "config.yaml"
    file.write_text(file.read_text().replace("noise: 0.0", "noise: 0.5"))
    for verb in ("evaluate", "sample"):
        assert main([verb, "toy/small"]) == 2
        assert "--accept-changes config" in capsys.readouterr().err
        assert main([verb, "toy/small", "--accept-changes", "config,data"]) == 0
        assert "accepted: config.yaml was edited" in capsys.readouterr().err
    assert main(["evaluate", "toy/small", "--accept-changes", "confg"]) == 2
    assert "did you mean `config`?" in capsys.readouterr().err
    with pytest.raises(UsageError, match="cannot be accepted"):
        api.resume(done, accept=["everything"])


def test_a_run_goes_on_with_what_is_accepted(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = json.loads((done / "status.json").read_text())
    (done / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
    for file in (done / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(CheckpointError, match="are gone"):
        api.resume(done)
    assert main(["resume", "toy/small", "--accept-changes", "checkpoints", "-q"]) == 0
    assert api.runs()[0].state == "finished"


@pytest.mark.parametrize(
    ("cuda", "mps", "asked", "device"),
    [
        (0, False, "auto", "cpu"),
        (1, False, "auto", "cuda:0"),
        (1, True, "auto", "cuda:0"),
        (0, True, "auto", "cpu"),
        (0, True, "mps", "mps"),
        (0, True, "cpu", "cpu"),
        (0, False, "mps", None),
        (0, True, "cuda", None),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, "cuda:2", None),
        (0, False, "tpu9", None),
    ],
)
def test_the_device_is_chosen_among_those_there_are(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, asked: str, device: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if device is None:
        with pytest.raises(DeviceError):
            choose_device(EngineConfig(device=asked))
    else:
        assert choose_device(EngineConfig(device=asked)) == torch.device(device)


def test_a_step_on_mps_seeds_its_own_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.mps, "manual_seed", seeds.append)
    for step in (3, 3, 4):
        seed_step(0, step, 0, torch.device("mps"))
    assert seeds[0] == seeds[1] != seeds[2]
