"""Makes `python -m weft`, and so `torchrun -m weft`, the same as the command `weft`."""

import os
import sys

from weft.cli import main

if __name__ == "__main__":
    code = main()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # All is written and the process group is left; gloo's threads, which the interpreter would
        # still wait for, can abort a process that has done its work.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
