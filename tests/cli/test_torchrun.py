"""One process and two give the same run: gloo, two ranks, streams split between them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import ranks
from weft import api
from weft.engine.checkpoint import read

pytestmark = pytest.mark.dist

WORDS = ("cet/digits", "streams=2", "batch_size=32", "delay=3", "steps=12", "hidden_dim=32",
         "sparse_inputs=true", "track_sim=true", "log.every=4", "eval.every=6 steps",
         "checkpoint.every=5 steps", "log.tensorboard=false", "engine.threads=1")  # fmt: skip


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node=2", "-m", "weft", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("start", "extra"),
    [(torchrun, ()), (ranks.run, ("arch=cnn", "norm_op=batch", "hidden_dim=8"))],
    ids=["torchrun", "cnn"],
)
def test_two_processes_equal_one(
    workspace: Path, start: Callable[..., Any], extra: tuple[str, ...]
) -> None:
    done = start("train", *WORDS, *extra, "run.dir=two", "--quiet")
    assert done.returncode == 0, done.stderr
    one = api.train(*WORDS, *extra, report=False, **{"run.dir": "one"})
    assert one is not None
    two = api.runs("two")[0]
    assert [p.name for p in sorted(Path("two").iterdir())].count("config.yaml") == 1
    a, b = (read(Path(r) / "checkpoints/step_00000012.pt")["model"] for r in ("one", "two"))
    for name in a:
        # Sums over streams are taken in another order, which Adam's division magnifies.
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=5e-5)
    assert two.metrics["test/accuracy"] == pytest.approx(one.metrics["test/accuracy"], abs=0.01)
    for x, y in zip(one.history(), two.history(), strict=True):
        assert x["step"] == y["step"]
        for key in ("train/loss", "train/accuracy", "test/loss"):
            if key in x:
                assert y[key] == pytest.approx(x[key], rel=1e-3)


def test_streams_that_cannot_be_shared_are_refused_before_anything_is_written(
    workspace: Path,
) -> None:
    done = ranks.run("train", *WORDS, "streams=1", "--quiet")
    assert done.returncode != 0
    assert "1 streams cannot be shared evenly by 2 process(es)" in done.stderr
    assert list(workspace.iterdir()) == []


def test_deltas_are_learnt_by_two_processes_as_well_as_by_one(workspace: Path) -> None:
    small = ("model.n_layer=1", "model.n_head=2", "model.n_embd=16", "data.block_size=32",
             "batch_size=8", "eval.chunks=32", "eval.levels=2", "eval.every=20 steps",
             "log.tensorboard=false", "engine.threads=1")  # fmt: skip
    api.train("feedback/text", *small, "steps=1", report=False, **{"run.dir": "base"})
    words = ("feedback/text-feedback", *small, "steps=20", "base=base", "joint=true", "scope=all",
             "optim.lr=1e-2")  # fmt: skip
    done = ranks.run("train", *words, "run.dir=two", "--quiet")
    assert done.returncode == 0, done.stderr
    one = api.train(*words, report=False, **{"run.dir": "one"})
    assert one is not None
    two = api.runs("two")[0]
    # Each rank draws its own noise, so that the runs agree in what they learn, not in digits.
    assert one.metrics["val/gain"] > 0.1
    assert two.metrics["val/gain"] == pytest.approx(one.metrics["val/gain"], rel=0.2)
    assert two.metrics["val/base_loss"] == one.metrics["val/base_loss"]


STOPPED = """
import os, signal, sys, time
from pathlib import Path
from weft.task import calls

whole = calls.evaluate

def evaluate(*given):
    if not Path("sent").exists():
        Path("sent").touch()
        for process in [os.getpid(), int(Path("other").read_text())][: int(os.environ["HEARD_BY"])]:
            os.kill(process, signal.SIGTERM)
        time.sleep(1)
        Path("ended").touch()
    return whole(*given)

calls.evaluate = evaluate
if os.environ["RANK"] == "1":
    Path("other").write_text(str(os.getpid()))
from weft.__main__ import run
sys.exit(run())
"""


@pytest.mark.parametrize("heard_by", ["1", "2"])
def test_a_signal_cuts_the_evaluation_of_two_processes_short_and_they_go_on_with_it(
    heard_by: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEARD_BY", heard_by)
    Path("stopped.py").write_text(STOPPED)
    words = (*WORDS, "data.use_val=true", "log.every=12", "--quiet")
    done = ranks.run("train", *words, "run.dir=cut", script="stopped.py")
    assert done.returncode == 143, done.stderr
    assert Path("sent").exists() and not Path("ended").exists()
    cut = api.runs("cut")[0]
    assert (cut.state, cut.status["saved"], cut.metrics) == ("interrupted", 6, {})
    assert ranks.run("resume", "cut", "--quiet").returncode == 0
    assert ranks.run("train", *words, "run.dir=straight").returncode == 0
    resumed, straight = api.runs("cut")[0], api.runs("straight")[0]
    assert resumed.metrics == straight.metrics
    assert [row["step"] for row in resumed.history()] == [row["step"] for row in straight.history()]
    ours, theirs = (run.load_model("last").state_dict() for run in (resumed, straight))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
