"""Checkpoints of splats to archives, with the command line of the original's script."""

from weft.papers.gaussvae.splat_files import pt2npz

raise SystemExit(pt2npz())
