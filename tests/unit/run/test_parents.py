"""Stages: a run that starts from an earlier one's weights, pinned to the bytes it had then."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.stops import die_at
from tests.toy.task import ToyTask
from weft import api as weft
from weft.cli import main
from weft.config.runref import RunRef
from weft.engine.checkpoint import read
from weft.run.registry import Run
from weft.task.parent import Parent

QUIET = ("log.tensorboard=false", "log.every=1")
PARENT = Path("runs/toy/small")
PARENT_WORDS = ("seed=1", "optim.lr=1", "noise=0.5", "steps=12", "eval.every=4 steps")
State = dict[str, torch.Tensor]


@pytest.fixture
def parent(toy: str, workspace: Path) -> Run:
    """A finished run at runs/toy/small, whose best checkpoint is not its last."""
    return run(*PARENT_WORDS)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """The weights of every child before its first step, one entry a call of `adopt`."""
    seen: list[State] = []
    adopt = ToyTask.adopt

    def spy(self: ToyTask, model: nn.Module, parents: Mapping[str, Parent]) -> None:
        adopt(self, model, parents)
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    monkeypatch.setattr(ToyTask, "adopt", spy)
    return seen


def run(*words: str, **values: Any) -> Run:
    found = weft.train("toy/small", *QUIET, *words, report=False, **values)
    assert found is not None
    return found


def state(run: Run, checkpoint: str | None = None) -> State:
    return run.load_model(checkpoint).state_dict()


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def killed_child(monkeypatch: pytest.MonkeyPatch, *words: str, step: int) -> Path:
    die_at(monkeypatch, step)
    with pytest.raises(RuntimeError, match="killed"):
        run("run.dir=killed", *words)
    return Path("killed")


@pytest.mark.parametrize(
    "ref",
    ["toy/small", "runs/toy/small", str(PARENT / "model.safetensors"), "toy/small@best"],
)
def test_a_child_starts_from_the_best_weights_of_its_parent(
    parent: Run, starts: list[State], ref: str
) -> None:
    assert not same(state(parent, "best"), state(parent, "last"))
    run(f"base={ref}", steps=1)
    assert same(starts[0], state(parent, "best"))


def test_a_named_checkpoint_a_file_and_a_path_object_say_which_weights(
    parent: Run, starts: list[State]
) -> None:
    last = PARENT / "checkpoints/step_00000012.pt"
    run("base=toy/small@last", steps=1)
    run("base=runs/toy/small@12", steps=1)
    run(steps=1, base=last)
    run(steps=1, base=PARENT)
    assert all(same(start, state(parent, "last")) for start in starts[:3])
    assert same(starts[3], state(parent, "best"))


def test_a_run_without_a_parent_is_what_it_was(parent: Run, starts: list[State]) -> None:
    again = run(*PARENT_WORDS)
    assert same(state(parent), state(again))
    assert starts == []
    assert "parents" not in again.resolved


def test_the_parent_is_recorded_and_pinned_by_checksum(parent: Run) -> None:
    child = run("base=toy/small@last", steps=1)
    file = (PARENT / "checkpoints/step_00000012.pt").absolute()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert child.parents == {"base": {"file": str(file), "sha256": digest}}
    assert child.config["base"] == "toy/small@last"
    assert f"base: starts from {file}, sha256 {digest[:12]}" in (child.path / "log.txt").read_text()
    assert weft.configure(str(child.path / "config.yaml")).config.plain() == child.config


def test_killed_before_a_checkpoint_it_begins_again_from_the_same_bytes(
    parent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run("base=toy/small", "noise=0.1", "run.name=straight")
    path = killed_child(monkeypatch, "base=toy/small", "noise=0.1", step=3)
    assert not (path / "checkpoints").exists()
    # By now the name means two runs; the pin means one file.
    shutil.copytree(PARENT, "runs/elsewhere/small")
    resumed = weft.resume(path, report=False)
    assert resumed is not None
    assert same(state(straight, "last"), state(resumed, "last"))
    assert resumed.metrics == straight.metrics


def test_killed_after_a_checkpoint_it_needs_no_parent_to_resume_bit_for_bit(
    parent: Run, monkeypatch: pytest.MonkeyPatch, starts: list[State]
) -> None:
    straight = run("base=toy/small", "noise=0.1", "dropout=0.2", "run.name=straight")
    path = killed_child(monkeypatch, "base=toy/small", "noise=0.1", "dropout=0.2", step=13)
    shutil.rmtree(PARENT)
    resumed = weft.resume(path, report=False)
    assert resumed is not None
    assert len(starts) == 2  # One for each start, none for the resume.
    assert same(state(straight, "last"), state(resumed, "last"))
    assert resumed.metrics == straight.metrics == weft.evaluate(path)
    assert same(weft.load(path / "model.safetensors").state_dict(), state(resumed))


@pytest.mark.parametrize("damage", ["gone", "other bytes"])
def test_a_parent_that_is_not_what_it_was_is_an_error_where_it_is_needed(
    parent: Run, monkeypatch: pytest.MonkeyPatch, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = killed_child(monkeypatch, "base=toy/small", step=3)
    file = Path(weft.runs(path)[0].parents["base"]["file"])
    if damage == "gone":
        file.unlink()
    else:
        # With a checksum of its own that fits: the pin alone can tell.
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        file.with_name(file.name + ".sha256").write_text(f"{digest}  {file.name}\n")
    assert main(["resume", str(path)]) == 1
    message = capsys.readouterr().err
    assert str(file) in message
    assert "gone" in message if damage == "gone" else "have changed since" in message
    assert "expected sha256" in message
    assert "start a new run with another `base`" in message


BAD = {
    "base=toy/smal": "there is no such run",
    "base=cet/small": "there is no such run",
    "base=runs/toy/nothing": "there is no such run",
    "base=toy/small@7": "there is no checkpoint `7`",
    "base=toy/unfinished": "the run has not finished (it is failed)",
    "base=toy/unfinished@last": "there is no checkpoint `last`",
    "base=toy/twice": "2 runs below runs have this name",
    "base=runs/cet/other": "is a run of family `cet`",
    "base=lone.txt": "this is not a run",
    "base=lone.safetensors": "cannot read the weights",
    "base=3": "`base` = 3 is not allowed",
}


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_parent_that_cannot_be_one_is_refused_before_anything_is_written(
    parent: Run,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    die_at(monkeypatch, 3)
    with pytest.raises(RuntimeError):
        run("run.name=unfinished")
    for place in ("runs/toy/twice", "runs/other/twice", "runs/cet/other"):
        shutil.copytree(PARENT, place)
    config = Path("runs/cet/other/config.yaml")
    config.write_text(config.read_text().replace("family: toy", "family: cet"))
    for name in ("lone.txt", "lone.safetensors"):
        Path(name).write_text("nothing")
    before = sorted(workspace.rglob("*"))
    told = {}
    for word, problem in BAD.items():
        assert main([command, "toy/small", *QUIET, word]) == 2
        told[word] = capsys.readouterr().err
        assert problem in told[word]
        assert "(command line, override 3)" in told[word]
    assert "did you mean `toy/small`?" in told["base=toy/smal"]
    assert "expected one of last, best, " in told["base=toy/small@7"]
    assert "`toy/unfinished@last` takes what" in told["base=toy/unfinished"]
    assert "\n  runs/other/twice\n  runs/toy/twice\n" in told["base=toy/twice"]
    assert "expected a run of family `toy`" in told["base=runs/cet/other"]
    assert sorted(workspace.rglob("*")) == before


def test_weights_of_another_shape_are_refused_with_the_first_that_differs(
    parent: Run, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(workspace.rglob("*"))
    for words in (["--dry-run"], []):
        assert main(["train", "toy/small", "base=toy/small", "width=5", *words]) == 2
        message = capsys.readouterr().err
        assert "the weights of `base` do not fit this run's model: 3 of 4 tensors" in message
        assert "expected `0.weight` of shape (5, 3); the earlier run's is (4, 3)" in message
    assert sorted(workspace.rglob("*")) == before


def test_a_task_may_take_a_part_of_its_parent_and_read_its_config(
    parent: Run, monkeypatch: pytest.MonkeyPatch, starts: list[State]
) -> None:
    def adopt(self: ToyTask, model: nn.Module, parents: Mapping[str, Parent]) -> None:
        assert isinstance(model, nn.Sequential)
        assert parents["base"].config.seed == 1 != self.config.seed
        assert not torch.is_grad_enabled()
        weights = parents["base"].load_weights()
        model[3].weight.zero_()
        model[0].weight += weights["0.weight"]

    monkeypatch.setattr(ToyTask, "adopt", adopt)
    child = run("base=toy/small", "checkpoint.keep=30", "checkpoint.every=1 step")
    first = read(child.path / "checkpoints/step_00000001.pt")["model"]
    assert float(first["3.weight"].abs().max()) <= 0.0101  # One Adam step from zero.


def test_commands_show_the_parents(parent: Run, capsys: pytest.CaptureFixture[str]) -> None:
    file = str((PARENT / "model.safetensors").absolute())
    word = f"base={PARENT / 'model.safetensors'}"
    child = run(word, "run.name=child", steps=1)

    def said(*words: str) -> str:
        assert main(list(words)) == 0
        return capsys.readouterr().out

    rows = {row["run"]: row["parents"] for row in json.loads(said("runs", "--json"))}
    assert rows == {str(PARENT): {}, str(child.path): {"base": file}}
    assert "base runs/toy/small/model.safetensors" in " ".join(said("runs").split())
    assert said("config", "show", "toy/small", word).endswith(f"\n# base: {file}\n")
    assert f"(command line, override 1; {file})" in said(
        "config", "show", "toy/small", word, "--origin"
    )
    assert "# base: there is no such run" in said("config", "show", "toy/small", "base=toy/no")
    dry = json.loads(said("train", "toy/small", word, "--dry-run", "--json"))
    assert dry["parents"] == child.parents
    assert child.parents["base"]["sha256"] in said("train", "toy/small", word, "--dry-run")
    page = weft.report(child.path).read_text()
    assert "Starts from" in page
    assert file in page
    assert "Starts from" not in weft.report(parent.path).read_text()


def test_schema_and_table_know_what_a_run_is(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema", "toy"]) == 0
    kinds = json.loads(capsys.readouterr().out)["properties"]["base"]["anyOf"]
    assert [kind["type"] for kind in kinds] == ["string", "null"]
    assert main(["config", "schema", "toy", "--table"]) == 0
    assert "| `base` | a run (directory or family/name, @CHECKPOINT" in capsys.readouterr().out


def test_a_reference_in_a_config_is_plain_text(toy: str) -> None:
    config = weft.configure("toy/small", base=Path("runs/a")).config
    assert isinstance(config.base, RunRef)  # type: ignore[attr-defined]
    assert type(config.plain()["base"]) is str
