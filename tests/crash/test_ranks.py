"""Ranks stay replicas under a schedule that reacts, and equal one process and its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ranks
from weft import api
from weft.engine.checkpoint import read

pytestmark = pytest.mark.dist

ALWAYS = ("log.tensorboard=false", "engine.threads=1", "engine.device=cpu", "log.every=5",
          "steps=20", "data.download=false")  # fmt: skip

REACTS = ("schedule.kind=plateau", "schedule.window=2", "schedule.patience=0",
          "schedule.factor=0.5", "schedule.min_lr=0.001")  # fmt: skip

TEXT = ("feedback/text", "model.n_layer=1", "model.n_head=2", "model.n_embd=16",
        "data.block_size=32", "batch_size=8", "eval.chunks=8", "eval.levels=2",
        "optim.kind=sgd", "optim.lr=0.1")  # fmt: skip

STREAMS = ("cet/digits", "streams=4", "batch_size=32", "hidden_dim=16", "optim.kind=sgd",
           "optim.lr=0.05", *REACTS)  # fmt: skip


def state(run: str) -> dict[str, object]:
    return read(Path(run) / "checkpoints" / "step_00000020.pt")


def close(one: str, other: str, within: float = 1e-5) -> None:
    ours, theirs = state(one)["model"], state(other)["model"]
    assert isinstance(ours, dict) and isinstance(theirs, dict)
    for name, tensor in ours.items():
        scale = float(tensor.abs().max()) or 1.0
        difference = float((tensor - theirs[name]).abs().max()) / scale
        assert difference < within, f"{name} of {one} and {other} differ by {difference:.1e}"


@pytest.mark.parametrize(
    "words", [TEXT, (*TEXT, *REACTS), STREAMS], ids=["text", "text-plateau", "streams-plateau"]
)
def test_one_two_and_four_parts_and_two_ranks_give_the_same_weights(
    workspace: Path, words: tuple[str, ...]
) -> None:
    for parts in (1, 2, 4):
        accumulation = f"engine.accumulation={parts}"
        api.train(*words, *ALWAYS, accumulation, report=False, **{"run.dir": f"parts-{parts}"})
    done = ranks.run("train", *words, *ALWAYS, "run.dir=ranks", "--quiet")
    assert done.returncode == 0, done.stderr
    for other in ("parts-2", "parts-4", "ranks"):
        close("parts-1", other)
    if "schedule.kind=plateau" in words:
        scales = {run: state(run)["schedule"]["scale"] for run in ("parts-1", "ranks")}
        assert scales["parts-1"] == scales["ranks"] < 1.0


# Each family's own optimiser divides by the size of a gradient, so that a sum taken in another
# order moves a weight whose gradient is near zero by up to its rate: eps keeps out of that.
OWN = {
    "feedback": ("feedback/text", "model.n_layer=1", "model.n_head=2", "model.n_embd=16",
                 "data.block_size=32", "batch_size=8", "eval.chunks=8", "eval.levels=2"),
    "cet": ("cet/digits", "streams=4", "batch_size=32", "hidden_dim=16"),
    "warp": ("warp/digits", "batch_size=8", "mlp_hidden_size=8", "grounding_length=8"),
    "gaussvae": ("gaussvae/demo", "arch=image", "loss=render", "batch_size=8", "latent_dim=4",
                 "picture.splats=16", "picture.components=8", "picture.width=16",
                 "picture.dropout=0", "eval.pictures=2"),
}  # fmt: skip


@pytest.mark.parametrize("family", OWN)
def test_an_adaptive_optimiser_under_a_schedule_that_reacts_is_the_same_on_two_ranks(
    workspace: Path, family: str
) -> None:
    words = (*OWN[family], "optim.eps=1e-4", *REACTS, *ALWAYS)
    api.train(*words, report=False, **{"run.dir": "one"})
    done = ranks.run("train", *words, "run.dir=two", "--quiet")
    assert done.returncode == 0, done.stderr
    assert api.runs("one")[0].config["optim"]["kind"].startswith("adam")
    scales = [state(run)["schedule"]["scale"] for run in ("one", "two")]
    assert scales[0] == scales[1] < 1.0
    close("one", "two", within=1e-4)


REPLICAS = """
import sys
import torch
import torch.distributed as dist
from weft.cli import main
from weft.engine.step import Stepper

call, seen = Stepper.__call__, []

def watched(self, batches, ctx):
    scalars = call(self, batches, ctx)
    flat = torch.cat([p.detach().flatten() for p in self.model.parameters()])
    least, most = flat.clone(), flat.clone()
    dist.all_reduce(least, dist.ReduceOp.MIN)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    seen.append(torch.equal(least, most))
    return scalars

Stepper.__call__ = watched
code = main(sys.argv[1:])
assert code == 0 and len(seen) == 20 and all(seen), (code, seen)
"""


def test_replicas_are_identical_after_every_step_of_a_schedule_that_reacts(
    workspace: Path,
) -> None:
    (workspace / "replicas.py").write_text(REPLICAS)
    words = ("train", *TEXT, *REACTS, *ALWAYS, "run.dir=ranks", "--quiet")
    done = ranks.run(*words, script="replicas.py")
    assert done.returncode == 0, done.stderr
