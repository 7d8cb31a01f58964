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
        "from weft.cli import main; assert main(['study']) == 0",
        "from weft.cli import main; assert main(['config', 'show', 'cet/digits']) == 0",
    ],
)
def test_nothing_heavy_is_imported_by(code: str) -> None:
    imported = _imported(code)
    assert "weft" in imported
    assert imported & HEAVY == set()


def _seconds(*words: str) -> float:
    """CPU seconds of `python WORDS`, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        (("--help",), 10.0),  # 5.4 when written, 0.48 s: it asks every family for its commands
        (("config", "show", "cet/digits"), 7.0),  # 3.2 when written, 0.31 s
    ],
)
def test_start_up_costs_at_most_so_many_times_the_import_of_asyncio(
    words: tuple[str, ...], limit: float
) -> None:
    # CPU time, beside that of other imports in the same moments: a slow machine slows both.
    pairs = [(_seconds("-m", "weft", *words), _seconds("-c", "import asyncio")) for _ in range(3)]
    ours, yardstick = (min(times) for times in zip(*pairs, strict=True))
    assert ours < limit * yardstick
