"""Retrograde timescales, with the command line of the paper's script."""

from weft.papers.cet.fixed_sparse import main

raise SystemExit(main())
