"""The command line of the CET paper's `btsp_experiments.py`: behavioural timescales."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from weft.papers import script
from weft.papers.cet import flags as shared
from weft.papers.cet.runs import train

NO_EFFECT = "no effect on behavioural timescales"


def main(argv: Sequence[str] | None = None) -> int:
    """Trains one run per seed and writes `results/<save_folder>/<run_name>.pt`.

    Returns: the exit code.
    """
    return script.run(_train_all, argv)


def _train_all(words: list[str]) -> None:
    flags = script.parsed(_parser(), words)
    for seed in range(flags.seed, flags.seed + flags.seeds):
        train("cet/mnist", flags, seed, to_config(flags, seed))


def to_config(flags: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Config values by key for the given flags; other options keep the preset's values."""
    return {
        **shared.to_config(flags, seed),
        "sparse_inputs": flags.sparse_inputs,
        "carry": flags.carry,
    }


def _parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "btsp_experiments.py", "CET on behavioural timescales", val_steps=390, no_effect={}
    )
    parser.add_argument("--effective_batch", type=int, help=NO_EFFECT)
    parser.add_argument("--theta_threshold", type=float, default=0.0, help=NO_EFFECT)
    parser.add_argument(
        "--carry", action=argparse.BooleanOptionalAction, default=False,
        help="streams continue from batch to batch",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
