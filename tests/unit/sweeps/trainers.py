"""Stand-ins for training a run, importable by the processes that a sweep starts."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from weft.errors import Interrupted, MissingExtra
from weft.stopping import Stopped

AGES = 600.0
"""Seconds that no test waits for: only a signal ends such a run in time."""


def options(words: tuple[str, ...]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words if "=" in word)


def train(words: tuple[str, ...]) -> dict[str, Any]:
    """Does what the word `do` says."""
    given = options(words)
    mark = Path(given.get("mark", ""))
    match given["do"]:
        case "raise":
            raise RuntimeError("weights turned to dust")
        case "miss":
            # Cannot be pickled, so it must not travel home as an object.
            raise MissingExtra("optuna", "sweep", "a search")
        case "exit":
            sys.exit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "save":
            try:
                (mark / given["seed"]).touch()
                time.sleep(AGES)
            except Stopped:
                (mark / f"told-{given['seed']}").touch()
                time.sleep(0.4)
                (mark / f"saved-{given['seed']}").touch()
                raise Interrupted("SIGINT", "here") from None
        case "pid":
            (mark / "pid").write_text(str(os.getpid()))
            time.sleep(AGES)
        case "ignore":
            told = mark / f"told-{given['seed']}"
            signal.signal(signal.SIGTERM, lambda *_: told.touch())
            (mark / given["seed"]).touch()
            time.sleep(AGES)
        case "add":
            import torch

            given["sum"] = str(int((torch.ones(64, 64) @ torch.ones(64, 64)).sum()))
    given |= {"pid": str(os.getpid()), "group": str(os.getpgrp())}
    given["gpus"] = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return given
