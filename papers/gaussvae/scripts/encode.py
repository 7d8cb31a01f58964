"""Pictures to checkpoints of splats, with the command line of the original's script."""

from weft.papers.gaussvae.splat_files import encode

raise SystemExit(encode())
