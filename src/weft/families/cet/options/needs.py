"""Which options of cet have an effect only where another one has some value."""

from __future__ import annotations

NEEDS = {
    "sparse_threshold": "sparse_inputs",
    "sparse_relative": "sparse_inputs",
    "norm_op": "arch=cnn",
    "p_drop": "arch=cnn",
    "sim_every": "track_sim",
}
"""Option -> what it needs, as `weft.config.rule.needs_of` reads it."""
