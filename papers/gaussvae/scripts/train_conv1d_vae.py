"""Conv1D autoencoders of splat sets, with the command line of the original's script."""

from weft.papers.gaussvae.train import train_conv1d

raise SystemExit(train_conv1d())
