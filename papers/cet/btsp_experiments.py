"""Behavioural timescales, with the command line of the paper's script."""

from weft.papers.cet.btsp_experiments import main

raise SystemExit(main())
