"""Archives of splats to checkpoints, with the command line of the original's script."""

from weft.papers.gaussvae.splat_files import npz2pt

raise SystemExit(npz2pt())
