"""What the toy family draws of many runs: loss over width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure


def figures(
    runs: Sequence[tuple[Mapping[str, Any], Mapping[str, float]]],
) -> Iterator[tuple[str, str, Figure]]:
    """A figure once widths differ."""
    points = sorted((config["width"], metrics["test/loss"]) for config, metrics in runs)
    if len({width for width, _ in points}) > 1:
        figure = Figure()
        figure.add_subplot().plot(*zip(*points, strict=True), "o")
        yield "loss_over_width", f"Loss of {len(points)} runs over their width.", figure
