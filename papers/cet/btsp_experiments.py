"""Behavioural timescales, with the command line of the paper's script."""

from weft.adapters.btsp_experiments import main

raise SystemExit(main())
