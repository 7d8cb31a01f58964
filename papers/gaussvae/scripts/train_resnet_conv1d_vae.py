"""ResNet autoencoders of splat sets, with the command line of the original's script."""

from weft.papers.gaussvae.train import train_resnet

raise SystemExit(train_resnet())
