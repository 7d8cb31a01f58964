"""Makes `python -m weft`, and so `torchrun -m weft`, the same as the command `weft`."""

import os
import signal
import sys

from weft.stopping import SIGNALS, Stopped, exit_code, stopped_by_signals


def run() -> int:
    """Runs the command line of this process and returns its exit code.

    Signal handlers are installed before anything slow is imported; once the result is printed,
    signals are ignored, so that a late one cannot change the exit code.
    """
    with stopped_by_signals():
        try:
            from weft.cli import main

            code = main()
        except Stopped as stopped:
            from weft.system import fault
            from weft.terminal import tell

            tell(str(fault(stopped)))
            code = exit_code(stopped.name)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # Everything is written and the process group is left. The interpreter would still wait
        # for gloo's threads, which can abort a process that has finished its work.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(run())
