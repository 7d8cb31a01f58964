"""The control: fine-tunes the attention of a trained feedforward model."""

from weft.papers.feedback.train import main

raise SystemExit(main("feedforward_fine_tune_train"))
