"""Real processes of weft, forked from one that has imported torch: each dies alone, none is slow.

    python processes.py < cases.json > outcomes.json

A case is `words`, and what stands in its way: `uid`, `cwd`, `env` (None removes), `phase` with
`signal`, `twice`, and `lasts` if the phase takes long. An outcome is the exit `code`, `out`, `err`
and `seconds`, since the signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

HOOKS = {
    "data": "weft.task.calls:data",
    "training": "weft.engine.loop:Trainer._step",
    "evaluation": "weft.engine.loop:evaluate",
    "saving": "weft.engine.checkpoint:_write",
    "export": "weft.run.session:export",
    "sampling": "weft.task.calls:pictures",
    "report": "weft.reports.page:write_report",
    "overview": "weft.reports.overview:write_overview",
    "listing": "weft.api:find_runs",
    "config": "weft.api:load_config",
    "point": "weft.sweeps.pool:_start",
    "planning": "weft.sweeps.grid:open_plan",
    "loading": "weft.run.model:store_of",
}
"""Phase of a command -> what runs in it, at whose first call the signal comes."""

PRELOADED = (
    "torch", "torch._dynamo", "weft.cli", "weft.api", "weft.run.start", "weft.reports.page",
    "weft.reports.overview", "weft.run.resume", "weft.run.samples", "weft.sweeps.pool",
    "weft.families.cet.task", "tensorboard", "matplotlib.figure",
    # A user without rights to Python's own files can import nothing more.
    "encodings.cp437", "encodings.utf_8_sig", "importlib.readers",
    "multiprocessing.popen_forkserver",
)  # fmt: skip

LONG = 60.0
"""Seconds that the phase lasts, unless a second signal ends it: long beside any machine's haste."""


def signal_in(phase: str, number: int, stamp: str, *, twice: bool, lasts: bool) -> None:
    """Has this process signalled once it is in the phase."""
    home, _, path = HOOKS[phase].partition(":")
    owner: Any = import_module(home)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)

    def signalled(*arguments: Any, **options: Any) -> Any:
        setattr(owner, name, original)
        if twice:
            threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
        Path(stamp).write_text(str(time.monotonic()))
        os.kill(os.getpid(), number)
        if twice or lasts:
            time.sleep(LONG)
        return original(*arguments, **options)

    setattr(owner, name, signalled)


def _live(case: Mapping[str, Any], out: str, err: str, stamp: str) -> None:
    for stream, file in ((1, out), (2, err)):
        descriptor = os.open(file, os.O_WRONLY)
        os.dup2(descriptor, stream)
    for name, value in case.get("env", {}).items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    os.chdir(case.get("cwd", "."))
    if "uid" in case:
        os.setgroups([])
        os.setgid(case["uid"])
        os.setuid(case["uid"])
    if "phase" in case:
        number, twice = getattr(signal, case["signal"]), case.get("twice", False)
        lasts = case.get("lasts", False)
        signal_in(case["phase"], number, stamp, twice=twice, lasts=lasts)
    from weft.__main__ import run

    sys.argv = ["weft", *case["words"]]
    code = 70
    try:
        code = run()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def outcome(case: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one case in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out, err, stamp = (Path(folder) / name for name in ("out", "err", "stamp"))
        for path in (out, err):
            path.touch()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _live(case, str(out), str(err), str(stamp))
        _, status = os.waitpid(child, 0)
        ended = time.monotonic()
        return {
            "code": os.waitstatus_to_exitcode(status),
            "out": out.read_text(errors="replace"),
            "err": err.read_text(errors="replace"),
            "seconds": ended - (float(stamp.read_text()) if stamp.exists() else began),
        }


if __name__ == "__main__":
    for module in PRELOADED:
        import_module(module)
    json.dump([outcome(case) for case in json.load(sys.stdin)], sys.stdout)
