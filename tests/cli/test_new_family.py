"""`weft new-family` writes what trains, resumes, sweeps and keeps the contract, or nothing."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import weft
from weft import families
from weft.cli import main
from weft.data.source import Batch, TensorSource
from weft.sweeps import pool
from weft.sweeps.pool import Outcome
from weft.template import write
from weft.testing.contract import PRESET_CHECKS, contract

NAME = "my_curve"
HOME = write.WEFT


def forget() -> None:
    """Makes the registry look again."""
    for found in vars(families).values():
        getattr(found, "cache_clear", lambda: None)()


def written(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["new-family", *words, "--json"]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return values


def install(name: str, site: Path) -> None:
    """What `pip install -e` leaves behind of a package: its entry point."""
    metadata = site / f"weft_{name}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: weft-{name}\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[weft.families]\n{name} = weft_{name}:FAMILY\n")


@pytest.fixture
def project(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[dict[str, str]]:
    """The commands printed for a package that is installed; the current folder is its own."""
    commands = written(capsys, NAME, "--outside")["commands"]
    install(NAME, workspace / "site")
    monkeypatch.syspath_prepend(str(workspace / "site"))
    monkeypatch.syspath_prepend(str(workspace / NAME))
    monkeypatch.chdir(workspace / NAME)
    forget()
    yield commands
    for module in [each for each in sys.modules if each.startswith(f"weft_{NAME}")]:
        del sys.modules[module]
    monkeypatch.undo()
    forget()


def test_train_resume_and_sweep_work_as_printed(
    project: dict[str, str],
    without_pictures: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    take, taken = TensorSource.take, []

    def interrupted(self: TensorSource, indices: torch.Tensor, generator: Any) -> Batch:
        taken.append(indices)
        if len(taken) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(self, indices, generator)

    def run(command: str, *words: str) -> int:
        program, *typed = shlex.split(command)
        assert program == "weft"
        return main([*typed, *words])

    def in_process(points: Any, train: Any, workers: Any, on_done: Any) -> list[Outcome]:
        return [Outcome(point, "done", train(point.overrides)) for point in points]

    monkeypatch.setattr(pool, "run_points", in_process)  # whose processes take long to start
    monkeypatch.setattr(TensorSource, "take", interrupted)
    assert run(project["train"], "steps=20", "log.tensorboard=false", "--quiet") == 143
    assert project["resume"] in capsys.readouterr().err
    assert run(project["resume"], "--quiet") == 0
    [trained] = weft.runs()
    assert (trained.state, trained.status["step"], len(taken)) == ("finished", 20, 20)
    assert run(project["sweep"].replace("steps=300", "steps=2"), "log.tensorboard=false") == 0
    assert "test/rmse" in capsys.readouterr().out


def test_the_contract_is_kept_and_the_oracle_agrees(
    project: dict[str, str], tmp_path: Path
) -> None:
    contract(f"{NAME}/small", tmp_path / "contract")
    oracle: dict[str, Any] = {}
    exec(Path("tests/test_reference.py").read_text(), oracle)
    for activation in ("tanh", "relu"):
        oracle["test_the_network_and_its_loss_are_those_of_the_formula"](activation)


def test_its_rule_is_heard_and_its_bench_s_forms_agree(
    project: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", f"{NAME}/small", "batch_size=64", "data.items=40"]) == 2
    error = capsys.readouterr().err
    assert "`batch_size` 64 is more than the 32 points" in error
    (case,) = import_module(f"weft_{NAME}.bench").cases()
    torch.manual_seed(0)
    fast = case.forms["fast"]().step()
    torch.manual_seed(0)
    literal = case.forms["reference"]().step()
    torch.testing.assert_close(fast.flatten(), torch.tensor(literal), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["ab", "a" * 30])
@pytest.mark.parametrize("where", ["inside", "outside"])
def test_what_is_written_is_formatted_and_linted(
    name: str, where: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkout(workspace, monkeypatch) if where == "inside" else workspace
    assert main(["new-family", name, *["--outside"] * (where == "outside")]) == 0
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", str(folder)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with weft's registry and settings; `weft` says that it runs from there."""
    root = folder / "repository"
    registry = root / "src" / "weft" / "families" / "__init__.py"
    registry.parent.mkdir(parents=True)
    (root / "tests" / "oracle").mkdir(parents=True)
    shutil.copy(HOME / "families" / "__init__.py", registry)
    shutil.copy(HOME.parents[1] / "pyproject.toml", root)
    (root / "src" / "weft" / "__init__.py").touch()
    monkeypatch.setattr(write, "WEFT", root / "src" / "weft")
    return root


def test_inside_the_repository_it_is_registered_and_keeps_a_preset_s_part(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = checkout(workspace, monkeypatch)
    values = written(capsys, NAME)
    registry: dict[str, Any] = {}
    exec((root / "src/weft/families/__init__.py").read_text(), registry)
    assert registry["BUILT_IN"] == {**families.BUILT_IN, NAME: f"weft.families.{NAME}"}
    assert list(registry["BUILT_IN"]) == sorted(registry["BUILT_IN"])
    assert f"tests/oracle/test_{NAME}_reference.py" in values["commands"]["test"]

    monkeypatch.setattr(families, "__path__", [str(root / "src/weft/families")])
    monkeypatch.setitem(families.BUILT_IN, NAME, f"weft.families.{NAME}")
    forget()
    try:
        for check in PRESET_CHECKS:
            check(f"{NAME}/small", workspace)
        exec((root / f"tests/oracle/test_{NAME}_reference.py").read_text(), {})
    finally:
        monkeypatch.undo()
        forget()


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("My-Curve", "cannot be the name of a family", "weft new-family my_curve"),
        ("2fast", "cannot be the name of a family", ""),
        ("class", "cannot be the name of a family", ""),
        ("all", "means something else", ""),
        ("sweeps", "means something else", ""),
        ("a" * 31, "too long", "at most 30 letters"),
        ("cet", "there is a family `cet` already", "weft recipes cet"),
    ],
)
@pytest.mark.parametrize("where", [[], ["--outside"]])
def test_a_bad_name_is_refused_and_nothing_written(
    where: list[str],
    name: str,
    message: str,
    hint: str,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["new-family", name, *where]) == 2
    error = capsys.readouterr().err
    assert message in error and hint in error
    assert list(workspace.iterdir()) == []
    assert not (HOME / "families" / name).is_dir() or name == "cet"


def test_a_folder_that_exists_is_left_alone(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / NAME).mkdir()
    assert main(["new-family", NAME, "--outside"]) == 2
    assert f"`{NAME}` is there already" in capsys.readouterr().err
    assert list((workspace / NAME).iterdir()) == []


def test_a_package_of_that_name_is_not_shadowed(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / f"weft_{NAME}.py").touch()
    monkeypatch.syspath_prepend(str(workspace))
    assert main(["new-family", NAME, "--outside"]) == 2
    assert f"there is a package `weft_{NAME}` already" in capsys.readouterr().err
    assert not (workspace / NAME).exists()


def test_an_installed_weft_points_outside(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = workspace / "site-packages" / "weft"
    place.mkdir(parents=True)
    monkeypatch.setattr(write, "WEFT", place)
    assert main(["new-family", NAME]) == 2
    assert f"`weft new-family {NAME} --outside`" in capsys.readouterr().err
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_the_commands_work_as_a_user_types_them(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = written(capsys, NAME, "--outside")["commands"]
    install(NAME, workspace / "site")
    paths = [str(HOME.parent), str(workspace / "site"), str(workspace / NAME)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    for line, code in (
        (f"{commands['train']} steps=100", 0),
        (commands["resume"], 2),  # the run is finished
        (commands["sweep"], 0),
        (commands["test"], 0),
    ):
        program, *words = shlex.split(line)
        done = subprocess.run(
            [sys.executable, *(["-m", "weft"] if program == "weft" else []), *words],
            cwd=workspace / NAME, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
