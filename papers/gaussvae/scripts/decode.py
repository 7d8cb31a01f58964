"""Checkpoints or archives of splats to pictures, with the command line of the original's script."""

from weft.papers.gaussvae.splat_files import decode

raise SystemExit(decode())
