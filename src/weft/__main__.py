"""`python -m weft`, also under torchrun."""

import os
import sys

from weft.cli import main

code = main()
if "TORCHELASTIC_RUN_ID" in os.environ:
    # All is written and the process group is left; threads of gloo that the interpreter would
    # still wait for can abort a process that has done its work.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
