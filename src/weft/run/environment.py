"""What a run ran on: versions, machine, git state, command line."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from weft.engine.ranks import launched
from weft.machine import cpu_name
from weft.version import __version__


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, machine, git commit and command line, for env.json."""
    return {
        "weft": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": version("numpy"),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "world_size": launched("WORLD_SIZE", 1),
        "git": _git(),
        "command": sys.argv,
        "directory": str(Path.cwd()),
    }


def _git() -> dict[str, Any] | None:
    """Commit and cleanliness of the repository weft is run from, or None outside of one."""
    commit = _ask_git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_ask_git("status", "--porcelain"))}


def _ask_git(*words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *words], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
