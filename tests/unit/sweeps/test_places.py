"""A place to train on is there and answers, or is refused before anything is written."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from weft import api
from weft.cli import main
from weft.errors import DeviceError, UsageError
from weft.sweeps import pool, ray_tasks
from weft.sweeps.places import find_place
from weft.sweeps.slurm_array import Options, read_options


def test_here_is_the_pool_of_processes(tmp_path: Path) -> None:
    assert find_place("local", tmp_path) is pool.run_points


@pytest.mark.parametrize(("text", "hint"), [("rya", "did you mean `ray`?"), ("local:4", "")])
def test_a_place_that_does_not_exist_is_refused(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(UsageError, match="no place") as told:
        find_place(text, tmp_path)
    assert hint in told.value.hint


@pytest.mark.parametrize(
    ("place", "package", "extra"), [("ray", "ray", "ray"), ("slurm", "submitit", "slurm")]
)
def test_a_place_whose_package_is_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DeviceError) as told:
        find_place(place, tmp_path)
    assert f"weft[{extra}]" in told.value.hint


def test_an_address_at_which_no_cluster_answers_leaves_nothing_behind(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        code = main(["sweep", "cet/digits", "delay=1,2", "--on", f"ray:{address}", "--dir", "s"])
    assert code == 2
    assert "no Ray cluster answers" in capsys.readouterr().err
    assert not Path("s").exists()


def test_a_machine_without_sbatch_is_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setenv("PATH", str(workspace))
    with pytest.raises(DeviceError, match="no `sbatch`"):
        api.sweep("cet/digits", "delay=1,2", on="slurm", directory="s")
    assert not Path("s").exists()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", Options(60, 1, {})),
        ("time=90", Options(90, 1, {})),
        ("time=4:30", Options(5, 1, {})),
        ("time=4:00:00", Options(240, 1, {})),
        ("time=1-12", Options(2160, 1, {})),
        ("time=1-2:30", Options(1590, 1, {})),
        ("partition=a,gpus=1,cpus-per-task=4", Options(60, 4, {"partition": "a", "gpus": "1"})),
        ("gres=gpu:1,exclusive", Options(60, 1, {"gres": "gpu:1", "exclusive": True})),
    ],
)
def test_options_are_those_of_sbatch(text: str, options: Options) -> None:
    assert read_options(text) == options


@pytest.mark.parametrize("text", ["time=soon", "cpus-per-task=0", "-p=gpu", "Partition=gpu"])
def test_options_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_options(text)


GPU, PLAIN = {"CPU": 16.0, "GPU": 4.0}, {"CPU": 8.0}


@pytest.mark.parametrize(
    ("nodes", "gpus", "share"),
    [([PLAIN], 0, 1), ([GPU, PLAIN], 1, 4), ([GPU, {"CPU": 6.0, "GPU": 2.0}], 1, 3)],
)
def test_a_run_takes_a_cpu_or_a_gpus_share_of_them(
    nodes: list[dict[str, float]], gpus: int, share: int
) -> None:
    assert ray_tasks._share(nodes, gpus) == share


def test_more_threads_than_any_node_has_are_refused_rather_than_waited_for() -> None:
    assert ray_tasks._cpus(("engine.threads=8",), [GPU, PLAIN]) == 8
    with pytest.raises(DeviceError, match="no node of the cluster has 17 CPUs"):
        ray_tasks._cpus(("engine.threads=17",), [GPU, PLAIN])
