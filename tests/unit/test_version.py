"""A source tree that nothing has installed runs, and says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

UNINSTALLED = """
import importlib.metadata
found = importlib.metadata.Distribution.discover
others = lambda cls, **asked: (d for d in found(**asked) if d.metadata["Name"] != "weft")
importlib.metadata.Distribution.discover = classmethod(others)
from weft.__main__ import run
run()
"""


def test_a_tree_that_is_not_installed_trains(tmp_path: Path) -> None:
    words = ["train", "cet/digits", "steps=2", f"run.dir={tmp_path / 'r'}"]
    command = [sys.executable, "-c", UNINSTALLED, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '"weft": "0+source"' in (tmp_path / "r" / "env.json").read_text()
