"""The recurrent feedback model: one block writes all the deltas."""

from weft.papers.feedback.train import main

raise SystemExit(main("feedbackward_rec_alt_train"))
