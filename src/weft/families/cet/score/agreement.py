"""How the layers' updates agreed with their true gradients, as scalars to log."""

from __future__ import annotations

from torch import Tensor, nn

from weft.families.cet.figures.report import SIMILARITIES
from weft.families.cet.trace.conversion import read, traced_layers


def agreement(model: nn.Module, *, exact_last: bool = False) -> dict[str, Tensor]:
    """Per layer: `sim/`, cosine of update and true gradient; `sim_centred/`, the same without the
    mean activity; `gain/`, length of the update along the true gradient. Empty where the step
    did not compare.

    Args:
        model: converted.
        exact_last: whether layers without delay are left out, which learn exactly.
    """
    layers = traced_layers(model)
    if not any(layer.clock.similarity for layer in layers.values()):
        return {}
    return {
        f"{name}/{layer}": value
        for layer, values in read(layers).items()
        if layers[layer].trace.delay > 0 or not exact_last
        for name, value in zip(SIMILARITIES, values.unbind(), strict=True)
    }
