"""Runs commands in real processes, many after one import of torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Outcomes = list[dict[str, Any]]


@pytest.fixture
def processes(workspace: Path) -> Callable[[Sequence[dict[str, Any]]], Outcomes]:
    """Gives each case its outcome; see `processes.py`."""

    def run(cases: Sequence[dict[str, Any]]) -> Outcomes:
        driver = Path(__file__).with_name("processes.py")
        done = subprocess.run(
            [sys.executable, str(driver)],
            input=json.dumps(list(cases)),
            capture_output=True,
            text=True,
            timeout=120 + 60 * len(cases),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: Outcomes = json.loads(done.stdout)
        return found

    return run
