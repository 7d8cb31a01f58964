"""How the layers' updates agreed with their true gradients, as scalars to log."""

from __future__ import annotations

from torch import Tensor, nn

from weft.families.cet.figures.report import SIMILARITIES
from weft.families.cet.trace.conversion import clock, similarities, traced_layers


def agreement(model: nn.Module, *, exact_last: bool = False) -> dict[str, Tensor]:
    """Per layer: `sim/`, cosine of update and true gradient; `sim_centred/`, the same without the
    mean activity; `gain/`, length of the update along the true gradient. Empty where the step
    did not compare.

    Args:
        model: converted.
        exact_last: whether layers without delay are left out, which learn exactly.
    """
    if not clock(model).similarity:
        return {}
    layers = traced_layers(model)
    return {
        f"{name}/{layer}": value
        for layer, values in similarities(model).items()
        if layers[layer].trace.delay > 0 or not exact_last
        for name, value in zip(SIMILARITIES, values.unbind(), strict=True)
    }
