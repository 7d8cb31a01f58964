"""Kill -9 at any act upon a file, then go on: the run that nothing disturbed, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

TOY = ("toy/small", "log.every=1", "log.tensorboard=false", "engine.threads=1", "noise=0.1",
       "dropout=0.2", "steps=6", "eval.every=2 steps", "checkpoint.every=3 steps",
       "checkpoint.keep=1")  # fmt: skip

SHORT = ("steps=4", "eval.every=2 steps", "checkpoint.every=2 steps", "checkpoint.keep=1",
         "log.every=1", "log.tensorboard=false", "engine.threads=1", "engine.device=cpu",
         "data.download=false")  # fmt: skip

TINY = {
    "cet/digits": ("hidden_dim=16",),
    "cet/cartpole-delayed": ("streams=2", "batch_size=8", "hidden_dim=8", "delay=3",
                             "control.episodes=2"),
    "jepa/clean": ("batch_size=4",),
    "warp/digits": (),
    "gaussvae/demo": ("data.items=40", "batch_size=8", "latent_dim=4", "eval.pictures=2",
                      "net.encoder_dense_units=8"),
    "feedback/text": ("model.n_layer=1", "model.n_head=2", "model.n_embd=16",
                      "data.block_size=32", "batch_size=4", "eval.chunks=4", "eval.levels=2"),
}  # fmt: skip

CRITICAL = (
    "rename run/.env.json",  # The status is not.
    "write run/metrics.jsonl #3",  # Half a row.
    "write run/checkpoints/.step_00000004 #2",  # Half a checkpoint.
    "rename run/checkpoints/.step_00000004.pt.sha256",  # A checkpoint without its sum.
    "rename run/checkpoints/.step_00000006.pt #-1",  # A sum without its checkpoint.
    "remove run/checkpoints/step_00000004.pt #-1",  # A checkpoint too many, or half of it gone.
    "rename run/.model.safetensors",  # All is trained, nothing is told.
)


def tried(folder: Path, words: tuple[str, ...], **plan: Any) -> dict[str, Any]:
    """What `tests.crash.nursery` found."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.nursery", str(folder),
         json.dumps({"words": words, **plan})],
        capture_output=True, text=True, cwd=ROOT, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["differing"] == []
    return found


def test_a_run_killed_at_a_critical_moment_ends_like_the_straight_one(tmp_path: Path) -> None:
    assert tried(tmp_path, TOY, moments=CRITICAL)["tried"] == len(CRITICAL)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(3))
def test_a_run_killed_at_any_moment_ends_like_the_straight_one(tmp_path: Path, part: int) -> None:
    found = tried(tmp_path, TOY, moments=[part, 3])
    assert found["tried"] >= len(found["acts"]) // 3


@pytest.mark.exhaustive
def test_a_run_killed_twice_and_from_outside_ends_like_the_straight_one(tmp_path: Path) -> None:
    assert tried(tmp_path, TOY, twice=20, outside=20)["tried"] == 40


@pytest.mark.exhaustive
def test_a_run_killed_while_its_page_is_made_gets_it(tmp_path: Path) -> None:
    tried(tmp_path, ("cet/digits", *SHORT, "hidden_dim=16"), page=True,
          moments=["open run/figures", "rename run/figures", "rename run/figures/.index.json",
                   "rename run/.report.html"])  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.parametrize("recipe", TINY)
def test_every_family_survives_kills_spread_over_a_run(tmp_path: Path, recipe: str) -> None:
    tried(tmp_path, (recipe, *SHORT, *TINY[recipe]), moments=12)
