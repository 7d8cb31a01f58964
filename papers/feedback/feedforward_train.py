"""The feedforward model: a masked-diffusion language model."""

from weft.adapters.feedback_train import main

raise SystemExit(main("feedforward_train"))
