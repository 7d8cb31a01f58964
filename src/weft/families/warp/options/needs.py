"""Which options of warp have an effect only where another one has some value."""

from __future__ import annotations

_FED = "supervision_task=reconstruction|both read=steps"

NEEDS = {
    "autoregressive": _FED,
    "train_strategy": f"autoregressive {_FED}",
    "forcing_prob": f"train_strategy=flip_coin autoregressive {_FED}",
    "smooth_inference": "stochastic",
    "noise_theta_test": "noise_theta_init",
    "cross_entropy_weight": "supervision_task=both",
    "transition_block": "transition=block",
    "transition_rank": "transition=lowrank",
    "transition_modes": "transition=modal",
    "rnn_hidden_size": "model_type=gru|lstm|linear|ssm|mlp",
    "nb_rnn_layers": "model_type=gru|lstm|linear|ssm",
    "data.resolution": "data.dataset=celeba",
    "data.cumsum": "data.dataset=icl",
}
"""Option -> what it needs, as `weft.config.rule.needs_of` reads it."""
