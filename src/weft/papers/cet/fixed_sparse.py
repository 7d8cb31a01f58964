"""The command line of the CET paper's `fixed_sparse.py`: retrograde timescales."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from weft.errors import UsageError
from weft.papers import script
from weft.papers.cet import flags as shared
from weft.papers.cet.runs import train

NO_EFFECT = {"sparse_inputs": "no effect on retrograde timescales, as in the original"}


def main(argv: Sequence[str] | None = None) -> int:
    """Trains one run per seed and writes `results/<save_folder>/<run_name>.pt`.

    Returns: the exit code.
    """
    return script.run(_train_all, argv)


def _train_all(words: list[str]) -> None:
    flags = script.parsed(_parser(), words)
    for seed in range(flags.seed, flags.seed + flags.seeds):
        train("cet/mnist-retrograde", flags, seed, to_config(flags, seed))


def to_config(flags: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Config values by key for the given flags; other options keep the preset's values.

    With `--gradient_accumulation=c` the gradients of c batches are summed for one step, as in the
    original. The original clips after each batch; here the sum is clipped.
    """
    values = shared.to_config(flags, seed)
    joined = flags.gradient_accumulation
    if not 1 <= joined <= flags.training_steps:
        raise UsageError(
            f"{joined} batches make a step, and there are {flags.training_steps}",
            where="--gradient_accumulation, --training_steps",
            expected="an accumulation between 1 and the number of batches",
        )
    longer = joined if values["optim.kind"] == "sgd" else 1  # adamw does not see a length
    return {
        **values,
        "steps": flags.training_steps // joined,
        "streams": joined,
        "engine.accumulation": joined,
        "clip.max_norm": 0.5 / joined,
        "optim.lr": flags.lr * longer,
        "eval.every": f"{max(1, flags.val_steps // joined)} steps",
        "effective_batch": flags.effective_batch,
        "theta_threshold": flags.theta_threshold,
        "input_accumulation": flags.input_accumulation,
        "random_times": flags.random_times,
        "bn_from": flags.bn_from,
    }


def _parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "fixed_sparse.py", "CET on retrograde timescales", val_steps=100, no_effect=NO_EFFECT
    )
    add = parser.add_argument
    add("--effective_batch", type=int, help="steps for which a kernel is made; the batch size")
    add("--theta_threshold", type=float, default=0.0, help="least gate, over its kernel's peak")
    add("--input_accumulation", type=int, default=1, help="slices of a batch, gated apart")
    add("--gradient_accumulation", type=int, default=1, help="batches that make a step")
    add("--random_times", action=argparse.BooleanOptionalAction, default=False,
        help="kept items get times at random, as in the original")  # fmt: skip
    add("--bn_from", default="kept", choices=("kept", "full"), help="whose batch statistics")
    return parser


if __name__ == "__main__":
    sys.exit(main())
