"""Weights shared out over processes: the run of one process, in files that are whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ranks
from tests.crash.test_ranks import ALWAYS, OWN, close, state
from weft import api

pytestmark = pytest.mark.dist

SMALL = ("model.n_layer=2", "model.n_head=2", "model.n_embd=16", "data.block_size=32",
         "batch_size=8", "eval.chunks=8", "eval.levels=2")  # fmt: skip

# A network that writes deltas and a base that trains, its clip at work, in parts.
DELTAS = ("feedback/text-feedback", *SMALL, "base=base", "joint=true", "scope=all",
          "optim.eps=1e-4", "clip.max_norm=0.1", "engine.accumulation=2", *ALWAYS)  # fmt: skip

STOPPED = """
import os, signal, sys
import torch.distributed as dist
from weft.cli import main
from weft.engine.step import Stepper

call, stop = Stepper.__call__, int(sys.argv[1])

def watched(self, batches, ctx):
    scalars = call(self, batches, ctx)
    for parameter in self.parameters:
        assert parameter.to_local().numel() <= parameter.numel() / 2 + parameter[0].numel()
        assert parameter.grad is None or parameter.grad.to_local().numel() < parameter.numel()
    if ctx.step == stop and dist.get_rank() == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    return scalars

Stepper.__call__ = watched
sys.exit(main(sys.argv[2:]))
"""


def stopped(workspace: Path, step: int, *words: str) -> None:
    """Two processes work on a run until one of them is told to stop."""
    (workspace / "stopped.py").write_text(STOPPED)
    done = ranks.run(str(step), *words, "--quiet", script="stopped.py")
    assert "resume" in done.stderr and "Assertion" not in done.stderr, done.stderr


def test_a_run_in_pieces_that_is_stopped_twice_and_ends_on_one_process_is_that_of_one(
    workspace: Path,
) -> None:
    api.train("feedback/text", *SMALL, *ALWAYS, report=False, **{"run.dir": "base"})
    api.train(*DELTAS, report=False, **{"run.dir": "one"})
    stopped(workspace, 4, "train", *DELTAS, "engine.shard=true", "run.dir=two")
    stopped(workspace, 12, "resume", "two")
    assert api.runs("two")[0].status["step"] == 15
    api.resume("two", report=False)
    close("one", "two", within=1e-4)
    moments = [state(name)["optim"]["state"] for name in ("one", "two")]
    for number, kept in moments[0].items():
        assert {n: t.shape for n, t in kept.items()} == {
            n: t.shape for n, t in moments[1][number].items()
        }
    ours, theirs = (api.runs(name)[0].metrics for name in ("one", "two"))
    # `input_gain` is the difference of two losses that agree to seven digits.
    assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-6)


def test_what_cannot_be_shared_out_is_refused_before_anything_is_written(workspace: Path) -> None:
    done = ranks.run("train", *OWN["warp"], *ALWAYS, "engine.shard=true", "run.dir=two")
    assert done.returncode != 0
    assert "cannot be shared out" in done.stderr and "family `warp`" in done.stderr
    assert not Path("two").exists()
