"""Pictures of the recurrence itself: A, B, its stability, and the paths that weights take."""

# N sequences, T steps, D weights

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weft.plots.axes import key_beside
from weft.plots.images import Named
from weft.plots.style import DOTTED, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_EIGENVALUES = 1500
"""Matrices of more rows keep their eigenvalues to themselves: they cost D^3."""
_RESOLUTION = 400
_TWO_COLOURS = "RdBu_r"


def transition(matrix: Tensor) -> Named:
    """A - I as an image, the histogram of its entries, and the eigenvalues of A.

    Args:
        matrix: A, (D, D).
    """
    from matplotlib.figure import Figure

    size = len(matrix)
    change = matrix.detach().float().cpu() - torch.eye(size)
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    spectrum = size <= MOST_EIGENVALUES and bool(change.isfinite().all())
    panels = figure.subplots(1, 3 if spectrum else 2, squeeze=False)[0]
    _image(figure, panels[0], change)
    _histogram(panels[1], change)
    if spectrum:
        _eigenvalues(panels[2], torch.linalg.eigvals(change.double() + torch.eye(size).double()))
    caption = (
        f"The matrix A ({size:,} x {size:,}) that carries the weights from step to step, as its "
        "difference from the identity it started at. "
    )
    if spectrum:
        caption += "Eigenvalues outside the circle make weights grow, inside it fade."
    return "transition", caption, figure


def _image(figure: Figure, axes: Axes, change: Tensor) -> None:
    size = len(change)
    block = -(-size // _RESOLUTION)
    if block > 1:  # The largest entry of each block: a mean would hide single ones.
        pad = -size % block
        padded = torch.nn.functional.pad(change, (0, pad, 0, pad))
        cells = padded.unfold(0, block, block).unfold(1, block, block).flatten(2)
        place = cells.abs().argmax(-1, keepdim=True)
        change = cells.gather(-1, place)[..., 0]
    reach = float(change.abs().quantile(0.995)) or 1e-9
    picture = axes.imshow(
        change.numpy(), cmap=_TWO_COLOURS, vmin=-reach, vmax=reach, interpolation="nearest",
        extent=(-0.5, size - 0.5, size - 0.5, -0.5),
    )  # fmt: skip
    axes.grid(visible=False)
    axes.set_title("A - I")
    axes.set_xlabel("from weight")
    axes.set_ylabel("to weight")
    figure.colorbar(picture, ax=axes, shrink=0.85, extend="both")


def _histogram(axes: Axes, change: Tensor) -> None:
    size = len(change)
    diagonal = change.diagonal()
    rest = change[~torch.eye(size, dtype=torch.bool)]
    entries = torch.cat([diagonal, rest])
    reach = float(entries.abs().max()) or 1e-9
    bins = torch.linspace(-reach, reach, 61).tolist()
    axes.hist(rest.numpy(), bins, color="C0", alpha=0.75, label="off the diagonal")
    axes.hist(diagonal.numpy(), bins, color="C1", alpha=0.85, label="on it")
    axes.set_yscale("log")
    axes.set_ylim(top=30 * axes.get_ylim()[1])  # Room for the legend.
    axes.locator_params(axis="x", nbins=4)
    axes.set_title("Entries of A - I")
    axes.set_xlabel("value")
    axes.set_ylabel("how many")
    axes.legend(loc="upper right", fontsize=8)


def _eigenvalues(axes: Axes, values: Tensor) -> None:
    angle = torch.linspace(0, 2 * torch.pi, 200)
    axes.plot(angle.cos().numpy(), angle.sin().numpy(), color="0.7", linewidth=0.9, zorder=1)
    axes.plot(values.real.numpy(), values.imag.numpy(), "o", color="C0", markersize=3, alpha=0.55)
    # A stays near the identity: only the neighbourhood of the eigenvalues tells anything.
    reach = max(1.25 * float((values - 1).abs().max()), 1e-4)
    axes.set_xlim(1 - reach, 1 + reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.locator_params(nbins=4)
    axes.set_title("Eigenvalues of A")
    axes.set_xlabel(f"real part   (largest modulus {float(values.abs().max()):.4f})")
    axes.set_ylabel("imaginary part")


def stability(history: Sequence[Mapping[str, Any]]) -> Iterator[Named]:
    """Largest weight and spectral radius over training, if there are two evaluations or more."""
    from matplotlib.figure import Figure

    wanted = {"max_theta": "largest weight", "spectral_radius": "spectral radius of A"}
    split = "val" if any("val/max_theta" in row for row in history) else "test"
    found = {
        name: [(row["step"], row[f"{split}/{name}"]) for row in history if f"{split}/{name}" in row]
        for name in wanted
    }
    found = {name: points for name, points in found.items() if len(points) > 1}
    if not found:
        return
    figure = Figure(figsize=(3.7 * len(found), 2.9), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for number, (axes, (name, points)) in enumerate(zip(panels, found.items(), strict=True)):
        axes.plot(*zip(*points, strict=True), "o-", color=f"C{number}", markersize=3.5)
        if name == "spectral_radius":
            axes.axhline(1, color="0.6", linestyle=DOTTED, linewidth=1.2)
        axes.set_title("" if number else "Stability of the recurrence")
        axes.set_xlabel("step")
        axes.set_ylabel(wanted[name])
    caption = (
        "Largest magnitude of a weight after a held-out sequence, and the largest modulus of an "
        "eigenvalue of A: above 1 (dotted), weights grow with the length of a sequence."
    )
    yield "stability", caption, figure


def drive(b: Tensor, boundaries: list[int]) -> Named:
    """The columns of B: which weights a change of each channel moves.

    Args:
        b: (D, channels).
        boundaries: indices at which the root's layers end.
    """
    from matplotlib.figure import Figure

    columns = b.detach().float().cpu()
    figure = Figure(figsize=(7.4, 3.0), layout="constrained")
    axes = figure.add_subplot()
    shown = min(6, columns.shape[1])
    for channel in range(shown):
        axes.plot(columns[:, channel].numpy(), color=f"C{channel}", linewidth=0.7, alpha=0.85,
                  label=f"channel {channel}")  # fmt: skip
    for end in boundaries[:-1]:
        axes.axvline(end - 0.5, color="0.6", linewidth=0.8, linestyle=DOTTED)
    axes.set_xlim(0, len(columns) - 1)
    axes.set_title("What a change of the input does to each weight")
    axes.set_xlabel("weight (dotted: layers of the root)")
    axes.set_ylabel("entry of B")
    if columns.shape[1] > 1:
        key_beside(axes)
    return "drive", f"The columns of B ({len(columns):,} weights), which start at zero.", figure


def weight_paths(theta: Tensor, label: Tensor | None, start: Tensor | None = None) -> Named:
    """Paths of the weights while sequences are read, in the plane of their largest variance.

    Args:
        theta: weights after each step, (N, T, D).
        label: classes, (N,), to colour by; steps colour the paths if None.
        start: first real step of each sequence, (N,), or None.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    flat = theta.detach().float().cpu()
    centred = (flat - flat.mean((0, 1))).flatten(0, 1)
    _, sizes, axes_of = torch.pca_lowrank(centred, q=min(6, *centred.shape), center=False, niter=4)
    plane = (centred @ axes_of[:, :2]).view(*flat.shape[:2], -1)
    if plane.shape[-1] == 1:
        plane = torch.cat([plane, torch.zeros_like(plane)], -1)
    share = sizes.square() / centred.square().sum().clamp_min(1e-30)
    figure = Figure(figsize=(5.8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    steps = plane.shape[1]
    for number, path in enumerate(plane):
        first = 0 if start is None else int(start[number])
        points = path[first:]
        pieces = torch.stack([points[:-1], points[1:]], 1).numpy()
        lines = LineCollection(list(pieces), linewidths=1.2, alpha=0.85, cmap="viridis")
        if label is None:
            lines.set_array(torch.arange(first, first + len(pieces)).numpy())
            lines.set_clim(0, steps - 1)
        else:
            lines.set_color(colour(int(label[number])))
        axes.add_collection(lines)
        axes.plot(*points[0].tolist(), "o", color="w", markeredgecolor="0.3", markersize=5)
        axes.plot(*points[-1].tolist(), "o", color="0.3", markersize=4)
    if label is None:
        figure.colorbar(lines, ax=axes, label="step", shrink=0.85)
    else:
        _class_legend(axes, label)
    axes.autoscale_view()
    shares = [float(value) for value in share[:2]] + [0.0]
    axes.set_title("Paths of the weights")
    axes.set_xlabel(f"first component ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"second component ({shares[1]:.0%})")
    caption = (
        f"The {flat.shape[-1]:,} weights after each step of {len(flat)} held-out sequences, in the "
        "plane of their largest variance. Open circle: first step; full: last."
    )
    return "weight_paths", caption, figure


def _class_legend(axes: Axes, label: Tensor) -> None:
    from matplotlib.lines import Line2D

    classes = sorted({int(value) for value in label})
    lines = [Line2D([], [], color=colour(value)) for value in classes]
    axes.legend(lines, [f"class {value}" for value in classes], loc="best", fontsize=8)
