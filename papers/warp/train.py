"""Weight-space models: edit config.yaml, run this script."""

from weft.papers.warp.train import main

raise SystemExit(main())
