"""The feedback model: writes deltas into a trained feedforward model."""

from weft.papers.feedback.train import main

raise SystemExit(main("feedbackward_alt_train"))
