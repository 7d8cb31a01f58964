"""Start-up is quick: the command line imports nothing heavy before it is needed."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = {
    "matplotlib",
    "numpy",
    "optuna",
    "PIL",
    "pooch",
    "pyarrow",
    "safetensors",
    "scipy",
    "tensorboard",
    "torch",
    "wandb",
}


def _imported(code: str) -> set[str]:
    """The top-level packages that are imported once `code` has run in a fresh interpreter."""
    report = "import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import weft",
        "import weft.cli",
        "from weft.cli import main; assert main(['--help']) == 0",
        "from weft.cli import main; assert main(['recipes']) == 0",
        "from weft.cli import main; assert main(['config', 'show', 'cet/digits']) == 0",
    ],
)
def test_nothing_heavy_is_imported_by(code: str) -> None:
    imported = _imported(code)
    assert "weft" in imported
    assert imported & HEAVY == set()


def _seconds(*words: str) -> float:
    """CPU seconds of `weft WORDS`, user and system; the best of three on a shared machine."""
    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "weft", *words], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def test_help_takes_less_than_0_3_cpu_seconds() -> None:
    assert _seconds("--help") < 0.3


def test_config_show_takes_less_than_0_6_cpu_seconds() -> None:
    assert _seconds("config", "show", "cet/digits") < 0.6
