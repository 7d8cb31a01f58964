"""The feedback model: writes deltas into a trained feedforward model."""

from weft.adapters.feedback_train import main

raise SystemExit(main("feedbackward_alt_train"))
