"""A sweep, or a search, on a Ray cluster or as submitit's jobs ends as a local one does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from weft import api
from weft.run.registry import find_runs
from weft.sweeps import slurm_array
from weft.sweeps.sweep import Sweep

pytestmark = pytest.mark.slow

ALWAYS = (
    "hidden_dim=8", "log.every=10", "eval.every=50 steps", "checkpoint.every=10 steps",
    "log.tensorboard=false", "engine.device=cpu", "engine.threads=1", "data.download=false",
)  # fmt: skip
TRIALS = ("sweep", "cet/digits", "delay=1,2,5", "seed=0..3", "steps=200", *ALWAYS, "--json")


def weft(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "weft", *words],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def table(process: subprocess.Popen[str]) -> Any:
    out, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    return json.loads(out)["table"]


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """What the condition finds, as long as the process is there."""
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return found


def descendants(pid: int) -> set[int]:
    """A process and all below it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, todo = set[int](), {pid}
    while todo:
        found |= todo
        todo = {child for child, parent in parents.items() if parent in todo} - found
    return found


class Cluster:
    """Nodes of one Ray cluster, all on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"

    def start(self, *where: str) -> subprocess.Popen[bytes]:
        # A node outlives no killed test by much.
        ray = str(Path(sys.executable).with_name("ray"))
        command = ["timeout", "900", ray, "start", "--block", "--num-cpus=1",
                   "--node-ip-address=127.0.0.1", "--object-store-memory=100000000",
                   "--disable-usage-stats", *where]  # fmt: skip
        # Else its workers give way to whatever else a busy machine does.
        surroundings = {**os.environ, "RAY_worker_niceness": "0"}
        with (self.folder / "nodes.log").open("ab") as log:
            self.nodes.append(subprocess.Popen(command, env=surroundings, stdout=log, stderr=log))
        return self.nodes[-1]

    def head(self) -> subprocess.Popen[bytes]:
        port = self.address.rpartition(":")[2]
        node = self.start("--head", f"--port={port}", "--include-dashboard=false",
                          f"--temp-dir={self.folder}")  # fmt: skip
        self.wait(1)
        return node

    def wait(self, nodes: int) -> None:
        probe = (
            "import ray, sys, time\n"
            "ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR')\n"
            "while len([n for n in ray.nodes() if n['Alive']]) < int(sys.argv[2]):\n"
            "    time.sleep(0.1)\n"
        )
        end = time.monotonic() + 240
        command = [sys.executable, "-c", probe, self.address, str(nodes)]
        while subprocess.run(command, capture_output=True, timeout=240, check=False).returncode:
            assert time.monotonic() < end, (self.folder / "nodes.log").read_text()
            time.sleep(1.0)


def kill(node: subprocess.Popen[bytes]) -> None:
    for pid in descendants(node.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    node.wait()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="ray is not installed")
    folder = Path(tempfile.mkdtemp(prefix="weft-ray-"))  # short, for the names of its sockets
    made = Cluster(folder)
    yield made
    for node in made.nodes:
        kill(node)
    shutil.rmtree(folder, ignore_errors=True)


def under_way(folder: str, pids: set[int]) -> list[Path]:
    """Runs that one of these processes trains, and has saved a step of."""
    return [
        run.path
        for run in find_runs(folder)
        if run.state == "running" and run.status.get("pid") in pids and run.status.get("saved")
    ]


def states(folder: str) -> list[str]:
    return [run.state for run in find_runs(folder)]


def test_a_ray_cluster_that_loses_a_node_and_its_head_finishes_every_trial_once(
    workspace: Path, cluster: Cluster
) -> None:
    head = cluster.head()
    node = cluster.start(f"--address={cluster.address}")
    cluster.wait(2)
    # Two at a time: what is lost is the next in turn.
    words = (*TRIALS, "--dir", "far", "--on", f"ray:{cluster.address}", "--workers", "2")
    first = weft(*words)
    [lost, *_] = wait_for(lambda: under_way("far", descendants(node.pid)), first)
    kill(node)
    # Ray takes its trial up again on the node that is left.
    wait_for(lambda: "finished" in states(str(lost)), first)
    wait_for(lambda: under_way("far", descendants(head.pid)), first)
    kill(head)
    _, told = first.communicate(timeout=120)
    assert first.returncode == 1
    assert "the head of the Ray cluster does not answer any more" in told
    finished = {run.path: run.path.joinpath("status.json").read_bytes()
                for run in find_runs("far") if run.state == "finished"}  # fmt: skip
    assert 0 < len(finished) < 12
    cluster.head()
    far = table(weft(*words))
    assert states("far") == ["finished"] * 12
    assert all((path / "status.json").read_bytes() == was for path, was in finished.items())
    for run in find_runs("far"):
        assert (run.path / "log.txt").read_text().count("finished at step 200") == 1
    assert "resumed" in (lost / "log.txt").read_text()
    assert far == table(weft(*TRIALS, "--dir", "near"))
    assert rows("far") == rows("near")


def rows(folder: str) -> dict[str, list[dict[str, Any]]]:
    """What every run has logged, but for the time it took."""

    def untimed(row: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in row.items() if k != "seconds" and not k.startswith("time/")}

    return {run.path.name: list(map(untimed, run.history())) for run in find_runs(folder)}


class Jobs(slurm_array.SlurmArray):
    """The same array by submitit's executor on this machine; the first run's time is up at once."""

    told: Path | None = None

    def find_commands(self) -> None:
        """Nothing of SLURM is needed."""

    def executor(self, count: int) -> Any:
        made = self.submitit.LocalExecutor(self.folder)
        made.update_parameters(timeout_min=self.options.minutes)
        return made

    def queued(self, jobs: Sequence[Any]) -> set[str]:
        for run in find_runs(self.folder.parent):
            status = run.status
            if Jobs.told is None and status["state"] == "running" and status.get("saved"):
                Jobs.told = run.path
                os.kill(status["pid"], signal.SIGUSR2)
        return {job.job_id for job in jobs if not job.done()}


def test_jobs_of_submitit_end_in_the_table_of_a_local_sweep(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setattr(slurm_array, "SlurmArray", Jobs)
    monkeypatch.setattr(slurm_array, "_POLL", 0.05)
    words = ("cet/digits", "delay=1,5", "steps=100", *ALWAYS)
    far = api.sweep(*words, directory="far", on="slurm")
    near = api.sweep(*words, directory="near")
    assert [outcome.state for outcome in far.outcomes] == ["done"] * 2
    assert far.table == near.table
    assert Jobs.told is not None
    log = (Jobs.told / "log.txt").read_text()
    assert log.count("interrupted") == log.count("resumed") == log.count("finished") == 1


SEARCH = ("cet/digits", "optim.lr=log:1e-4:1e-1", "steps=50", *ALWAYS)
PROPOSED: dict[str, Any] = {"sampler": "random", "metric": "test/accuracy", "workers": 2}


def by_trial(sweep: Sweep) -> list[Mapping[str, Any]]:
    return sorted(sweep.table.rows, key=lambda row: str(row["trial"]))


def test_a_search_on_a_ray_cluster_that_loses_a_node_ends_as_a_local_one(
    workspace: Path, cluster: Cluster
) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    cluster.head()
    node = cluster.start(f"--address={cluster.address}")
    cluster.wait(2)
    # So long that one is under way where it shall be lost.
    asked = tuple("steps=200" if word == "steps=50" else word for word in SEARCH)
    command = ("sweep", *asked, "--search", "random", "--metric", "test/accuracy", "--trials",
               "5", "--workers", "2", "--dir", "far")  # fmt: skip
    process = weft(*command, "--on", f"ray:{cluster.address}", "--json")
    wait_for(lambda: under_way("far", descendants(node.pid)), process)
    kill(node)
    table(process)
    assert states("far") == ["finished"] * 5
    near = api.search(*asked, **PROPOSED, trials=5, directory="near")
    assert by_trial(api.search(*asked, **PROPOSED, trials=5, directory="far")) == by_trial(near)


def test_a_search_by_jobs_of_submitit_ends_as_a_local_one_and_grows(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    pytest.importorskip("optuna", reason="optuna is not installed")
    monkeypatch.setattr(slurm_array, "SlurmArray", Jobs)
    monkeypatch.setattr(slurm_array, "_POLL", 0.05)
    for trials in (3, 5):
        far = api.search(*SEARCH, **PROPOSED, trials=trials, directory="far", on="slurm")
        near = api.search(*SEARCH, **PROPOSED, trials=trials, directory="near")
        assert len(by_trial(far)) == trials
        assert by_trial(far) == by_trial(near)
