"""The score of networks that have learnt nothing, with the command line of `train.py`."""

from weft.papers.jepa.train import uninit_baseline

raise SystemExit(uninit_baseline())
