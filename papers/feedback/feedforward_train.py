"""The feedforward model: a masked-diffusion language model."""

from weft.papers.feedback.train import main

raise SystemExit(main("feedforward_train"))
