"""The four scripts of the feedback README, and their options."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weft.papers import script

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Script:
    """One of the original's scripts.

    Attributes:
        about: what it trains.
        values: keys of weft that make it so.
        run_name: key of `training` in config.json that names its runs.
        resumed: what its options that name a run to go on with begin with.
        column: metrics.csv's name for the loss of the adapted model; "" if none is adapted.
    """

    about: str
    values: Mapping[str, Any]
    run_name: str
    resumed: str = ""
    column: str = ""

    @property
    def adapts(self) -> bool:
        """Whether it starts from a trained feedforward model."""
        return bool(self.column)

    @property
    def writes(self) -> bool:
        """Whether it trains a feedback model."""
        return bool(self.values["stage"] == "feedback")


def _feedback(about: str, recurrent: bool, run_name: str) -> Script:
    values = {"stage": "feedback", "mode": "compat", "recurrent": recurrent}
    return Script(about, values, run_name, "fb_", "loss_lora")


SCRIPTS: Mapping[str, Script] = {
    "feedforward_train": Script(
        "Trains the feedforward model.", {"stage": "feedforward"}, "ff_run_name"
    ),
    "feedforward_fine_tune_train": Script(
        "Fine-tunes q, k, v, o of a trained feedforward model.",
        {"stage": "fine_tune", "scope": "attn"},
        "ft_run_name",
        "ff_ft_",
        "loss_ft",
    ),
    "feedbackward_alt_train": _feedback(
        "Trains a feedback model for a trained feedforward model.",
        False,
        "fb_run_name",
    ),
    "feedbackward_rec_alt_train": _feedback(
        "Trains a recurrent feedback model for a trained feedforward model.",
        True,
        "fb_rec_run_name",
    ),
}


def parser(name: str) -> argparse.ArgumentParser:
    """The options of the script called `name`."""
    chosen = SCRIPTS[name]
    made = argparse.ArgumentParser(f"{name}.py", description=chosen.about, allow_abbrev=False)
    add = made.add_argument
    add("--config", default="config.json", metavar="FILE", help="what to train (config.json)")
    add("--active_dataset", required=True, metavar="NAME", help="a key of the file's `datasets`")
    if chosen.adapts:
        add("--ff_checkpoint_dir", required=True, metavar="DIR",
            help="run of the feedforward model: its path, or its name below out_dir")  # fmt: skip
        add("--ff_checkpoint_name", required=True, metavar="FILE",
            help="a checkpoint in it, such as epoch_ckpt_gsm8k_10.pt")  # fmt: skip
    if chosen.writes:
        add("--lora_rank", type=int, required=True, metavar="R", help="rank of the deltas")
        add("--feedback_reverse", type=boolean, metavar="BOOL",
            help="write the last block first (true, unless the file says otherwise)")  # fmt: skip
    add("--resume", type=boolean, default=False, metavar="BOOL",
        help="go on with a run instead of starting anew (false)")  # fmt: skip
    add(f"--{chosen.resumed}checkpoint_dir", dest="checkpoint_dir", metavar="DIR",
        help="with --resume: the run, instead of the latest")  # fmt: skip
    add(f"--{chosen.resumed}checkpoint_name", dest="checkpoint_name", metavar="FILE",
        help="with --resume: a checkpoint of it, instead of the latest")  # fmt: skip
    script.add_set(made)
    return made


def boolean(text: str) -> bool:
    """True or False, however it is written.

    Raises:
        argparse.ArgumentTypeError: for any other word.
    """
    if text.lower() not in _BOOLEANS:
        raise argparse.ArgumentTypeError(f"`{text}` is neither True nor False")
    return _BOOLEANS[text.lower()]
