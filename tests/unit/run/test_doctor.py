"""`weft doctor` tells what this machine has, and fails where a run would."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path

import pytest
import torch

from weft.cli import main
from weft.run import doctor


def test_doctor_tells_versions_devices_data_and_extras(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["python"] == platform.python_version()
    assert found["torch"] == str(torch.__version__)
    assert found["threads"] == torch.get_num_threads()
    assert (
        len(found["devices"]) == 1 + torch.cuda.device_count() + torch.backends.mps.is_available()
    )
    assert found["data"]["digits"] == "here"
    assert set(found["extras"]) >= {"parquet", "wandb", "dev"}
    assert found["extras"]["dev"]["pytest"] == metadata.version("pytest")
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["problems"] == []
    assert main(["doctor"]) == 0
    assert "data digits" in capsys.readouterr().out
    assert list(workspace.iterdir()) == []


def test_a_folder_of_data_that_is_not_there_and_a_missing_package_are_problems(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEFT_DATA", "nowhere")
    monkeypatch.setattr(doctor, "requires", lambda _: ["torch>=2", "absent>=1; python_version>'3'",
                                                       "lacking>=2; extra == 'some'"])  # fmt: skip
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    assert "without lacking: pip install 'weft[some]'" in said.out
    assert "`absent` is not installed; `nowhere` is no folder ($WEFT_DATA)" in said.err
