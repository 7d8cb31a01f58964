"""The recurrent feedback model: one block writes all the deltas."""

from weft.adapters.feedback_train import main

raise SystemExit(main("feedbackward_rec_alt_train"))
