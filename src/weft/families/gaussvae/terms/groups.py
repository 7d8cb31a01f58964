"""The four groups of a splat's columns: centres, sizes, orientations, colours; their errors."""

# B batch, N splats

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Groups = Mapping[str, slice]

GROUPS: Mapping[str, Groups] = {
    "rs": {"xy": slice(0, 2), "scale": slice(2, 4), "rot": slice(4, 5), "feat": slice(5, 8)},
    "logcov": {"xy": slice(0, 2), "scale": slice(2, 3), "rot": slice(3, 5), "feat": slice(5, 8)},
}
"""Layout -> group -> its columns. In logcov, `scale` is m and `rot` is (a, b), elongation too."""


def errors(found: Tensor, wanted: Tensor, groups: Groups) -> dict[str, Tensor]:
    """Mean squared error of each group, over the batch, its splats and its columns.

    Args:
        found, wanted: z-scores (B, N, 8).
        groups: columns of each group.
    Returns: group -> scalar; predicting the mean gives 1.
    """
    columns = (found - wanted).square().mean((0, 1))
    return {name: columns[part].mean() for name, part in groups.items()}


def factors(kind: str, groups: Groups) -> dict[str, float]:
    """The factor of each group's error in the loss.

    Args:
        kind: `equal`: 1; `channels`: 1 / columns; `perscalar`: columns / 8, a plain mean over
            columns. `render` and `mixed` weigh as `equal`.
        groups: columns of each group.
    """
    widths = {name: part.stop - part.start for name, part in groups.items()}
    if kind == "channels":
        return {name: 1 / width for name, width in widths.items()}
    if kind == "perscalar":
        return {name: width / sum(widths.values()) for name, width in widths.items()}
    return dict.fromkeys(widths, 1.0)
