"""Processes of one run as torchrun starts them, forked from one that has imported torch.

What torchrun itself does is tested with it, in `test_torchrun` and `test_lost_rank`; here its three
imports of torch would take longer than all that is trained.
"""

from __future__ import annotations

import os
import runpy
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from weft.sweeps.pool import _context

_GRACE = 60.0
"""Seconds that one process may take to notice that the other has failed."""


@dataclass(frozen=True)
class Done:
    """How two processes ended: the first code that is not 0, and what both said."""

    returncode: int
    stderr: str


def start(words: Sequence[str], script: str = "") -> tuple[list[BaseProcess], list[Path]]:
    """Two processes of `weft WORDS`, in this folder and with this environment, which draw no
    pictures, and the files that hold what they say.

    Args:
        words: of the command.
        script: run with these words in place of weft.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    # The server of a sweep's processes: as for one on CPUs, it has all imported that takes long.
    context = _context([])
    processes, said = [], []
    for rank in (0, 1):
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
                 "RANK": str(rank), "LOCAL_RANK": str(rank),
                 "TORCHELASTIC_RUN_ID": "none"}  # fmt: skip
        said.append(Path(f"rank-{rank}.err").absolute())
        given = ({**os.environ, **place}, os.getcwd(), str(said[-1]), [*words], script)
        processes.append(context.Process(target=_live, args=given))
        processes[-1].start()
    return processes, said


def run(*words: str, script: str = "", seconds: float = 120.0) -> Done:
    """Both processes until they end; one that outlives the other's failure for long is no end."""
    processes, said = start(words, script)
    end = time.monotonic() + seconds
    try:
        while any(process.is_alive() for process in processes):
            assert time.monotonic() < end, [path.read_text() for path in said]
            wait([process.sentinel for process in processes if process.is_alive()], 1.0)
            if any(process.exitcode for process in processes):
                end = min(end, time.monotonic() + _GRACE)
    finally:
        for process in processes:
            process.kill()
            process.join()
    codes = [process.exitcode or 0 for process in processes]
    told = "\n".join(path.read_text() for path in said)
    for path in said:
        path.unlink()
    return Done(next((code for code in codes if code), 0), told)


def _live(
    environment: dict[str, str], folder: str, said: str, words: list[str], script: str
) -> None:
    file = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from weft.reports import page
    from weft.run import samples

    samples.draw = lambda trained: []
    page.write_page = lambda run, task=None: run.path
    sys.argv = [script or "weft", *words]
    code: object = 70
    try:
        if script:
            runpy.run_path(script, run_name="__main__")
            code = 0
        else:
            from weft.__main__ import run as weft

            code = weft()
    except SystemExit as exit:
        code = exit.code
    finally:
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)
