"""Weight-space models: edit config.yaml, run this script."""

from weft.adapters.warp_train import main

raise SystemExit(main())
