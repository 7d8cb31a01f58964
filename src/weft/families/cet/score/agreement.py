"""Agreement of the layers' updates with their true gradients, as scalars to log."""

from __future__ import annotations

from torch import Tensor, nn

from weft.families.cet.figures.report import SIMILARITIES
from weft.families.cet.trace.conversion import read, traced_layers


def agreement(model: nn.Module, *, exact_last: bool = False) -> dict[str, Tensor]:
    """Agreement of the last step, for each layer NAME; empty if the step did not compare.

    `sim/NAME` is the cosine of update U and true gradient V, `sim_centred/NAME` the cosine without
    the part due to the mean activity, and `gain/NAME` is <U, V> / <V, V>.

    Args:
        model: a converted model.
        exact_last: whether layers without delay, whose update is exact, are left out.
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
