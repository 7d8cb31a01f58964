"""World models of moving dots, with the command line of the paper's script."""

from weft.papers.jepa.train import main

raise SystemExit(main())
