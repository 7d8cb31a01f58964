"""World models of moving dots, with the command line of the paper's script."""

from weft.adapters.jepa_train import main

raise SystemExit(main())
