"""Figures of one run: kernels, pairing matrix, a trace over time, agreement, predictions."""

# B time steps of a stream, N pictures, C channels, H height, W width, K classes

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from weft.data.catalog.sets import SETS
from weft.families.cet.config import Config
from weft.families.cet.trace.kernel import Kernel, merit, pairing, support, trace_kernel
from weft.plots.axes import key_beside, label_axes, marks
from weft.plots.images import Named, in_unit
from weft.plots.style import DOTTED, colour

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

SIMILARITIES = {
    "sim": "cosine",
    "sim_centred": "cosine, mean removed",
    "gain": "gain",
}
PAPER_ORDERS = (1, 2, 6, 10)
SECONDS_PER_STEP = 0.2
PICTURES = 24
THIS_RUN = "   this run"
RHO = "\N{GREEK SMALL LETTER RHO}"


def kernels(config: Config) -> Named:
    """The kernel of this run, those of the paper's orders, and the ideal delay."""
    from matplotlib.figure import Figure

    delay, shown = config.delay, max(3 * config.delay, 12) + 1
    if not config.carry:
        shown = min(config.batch_size, shown)
    figure = Figure(figsize=(6.8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for number, order in enumerate(sorted({*PAPER_ORDERS, config.order})):
        kernel = kernel_of(config, order, "cascade")
        mine = order == config.order and config.kernel == "cascade"
        name = f"{_cascade(order)}   {RHO} = {merit(kernel, delay):.3f}"
        axes.plot(
            range(shown),
            kernel[:shown].numpy(),
            color=colour(number),
            linewidth=2.8 if mine else 1.3,
            label=name + mine * THIS_RUN,
        )
        if mine:
            axes.fill_between(
                range(shown), kernel[:shown].numpy(), color=colour(number), alpha=0.12
            )
    axes.axvline(
        delay,
        color="0.5",
        linestyle=DOTTED,
        linewidth=1.6,
        zorder=1,
        label=f"ideal delay   {RHO} = 1" + (config.kernel == "ideal") * THIS_RUN,
    )
    if config.kernel == "sideways":
        axes.axvline(0, color="C5", linewidth=2.8, label="no memory" + THIS_RUN)
    read = "" if config.readout == "last" else f", {_readout(config)}"
    title = f"What the trace remembers (delay {delay}{read})"
    label_axes(axes, title, _time("time since the input"), "weight in the trace")
    axes.set_xlim(0, shown - 1)
    axes.legend(loc="upper right")
    caption = (
        "Weight of an input in the trace, by how long ago it was shown; its error arrives at the "
        f"dotted line. {RHO} is the share of the trace's energy at that moment. Read: "
        f"{_readout(config)}."
    )
    if config.taps is not None:
        caption += " This is the layer below the last; those further below wait longer."
    return "kernels", caption, figure


def pairing_matrix(config: Config) -> Named:
    """The pairing matrix: which error meets which activity within a stream."""
    from matplotlib.figure import Figure

    length = config.batch_size
    matrix = pairing(
        config.delay, config.order, length,
        kernel=config.kernel, readout=config.readout, error=config.error, carry=config.carry,
        taps=config.taps,
    ).matrix  # fmt: skip
    reach = float(matrix.abs().max())
    figure = Figure(figsize=(5.4, 4.3), layout="constrained")
    axes = figure.add_subplot()
    signed = bool(matrix.min() < 0)
    ends = (-0.5, length - 0.5)
    first_error, first_activity = (ends[1] - size for size in matrix.shape)
    picture = axes.imshow(
        matrix.numpy(),
        extent=(first_activity, ends[1], ends[1], first_error),
        cmap="RdBu_r" if signed else "Blues",
        vmin=-reach if signed else 0,
        vmax=reach,
        interpolation="nearest",
    )
    axes.plot(ends, ends, color="0.45", linewidth=0.8, linestyle=DOTTED)
    if config.delay > 0 and config.taps is None:
        lost = ends[1] - config.delay
        axes.axhspan(lost, ends[1], facecolor="none", edgecolor="0.75", hatch="////", linewidth=0)
        if config.delay > 0.05 * length:
            axes.text(
                first_activity + 0.02 * matrix.shape[1],
                (lost + ends[1]) / 2,
                "arrives with a later batch" if config.carry else "arrives too late",
                color="0.3",
                va="center",
                backgroundcolor="w",
            )
    figure.colorbar(picture, ax=axes, label="weight", shrink=0.85)
    axes.grid(visible=False)
    label_axes(
        axes, "Which error meets which activity", "activity of time step", "error of time step"
    )
    caption = (
        "Weight with which the error of one item (row) is paired with the activity of another "
        "(column). Back-propagation has ones on the dotted diagonal and nothing elsewhere."
    )
    if config.carry:
        caption += " Negative time steps are those of batches before."
    return "pairing", caption, figure


def trace(config: Config, images: Tensor) -> Named:
    """The trace of one input pixel during a stream of images.

    Args:
        images: network inputs of one stream, (B, C, H, W).
    """
    from matplotlib.figure import Figure

    row, column = _liveliest(images)
    x = images[:, 0, row, column].cpu().double().numpy()
    length, time = len(x), np.arange(len(x))
    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    strip, below, above = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": (0.55, 1, 1.25)}
    )
    _strip(strip, images, row, column)
    below.vlines(time, 0, x, color="C0", linewidth=1.4)
    below.plot(time, x, "o", color="C0", markersize=2.6)
    label_axes(below, "", "", "activity of\nmarked pixel")
    strip.set_title("What a synapse remembers of a stream")
    plain = np.convolve(x, kernel_of(config, 1, "cascade").numpy())[:length]
    mine = np.convolve(x, kernel_of(config, config.order, config.kernel).numpy())[:length]
    above.plot(time, plain, color="C1", linewidth=1.3, label=_cascade(1))
    if config.order > 1 or config.kernel != "cascade":
        width = 2.4 if config.kernel == "cascade" else 1.0
        above.plot(time, mine, color="C2", linewidth=width, label=_own_name(config))
    above.plot(
        time[config.delay :],
        x[: max(length - config.delay, 0)],
        "o",
        color="0.55",
        markersize=2.6,
        label=f"wanted: activity {config.delay} steps ago",
        zorder=1,
    )
    label_axes(above, "", _time("time"), "trace")
    above.legend(loc="upper left", bbox_to_anchor=(0, 1.22), ncols=3)
    above.set_xlim(-0.5, length - 0.5)
    caption = (
        "Top: every few images of the stream. Middle: what one pixel shows. Bottom: the trace it "
        "leaves at a synapse, and what the error that arrives at that moment ought to meet."
    )
    return "trace", caption, figure


def similarity(history: Sequence[Mapping[str, Any]]) -> Named:
    """Agreement of each layer's update with its true gradient over training.

    Args:
        history: rows of metrics.jsonl with entries such as `sim/w1`.
    """
    from matplotlib.figure import Figure

    present = [key for row in history for key in row]
    layers = list(dict.fromkeys(k.partition("/")[2] for k in present if k.startswith("sim/")))
    figure = Figure(figsize=(8.4, 3.0), layout="constrained")
    panels = figure.subplots(1, len(SIMILARITIES))
    for axes, (name, title) in zip(panels, SIMILARITIES.items(), strict=True):
        for number, layer in enumerate(layers):
            key = f"{name}/{layer}"
            rows = [(r["step"], r[key]) for r in history if r.get(key) is not None]
            if not rows:
                continue
            steps = [step for step, _ in rows]
            values = torch.tensor([value for _, value in rows], dtype=torch.float64)
            axes.plot(steps, values.numpy(), color=colour(number), alpha=0.25, linewidth=0.8)
            mean, mark = _smooth(values).numpy(), marks(len(steps))
            axes.plot(steps, mean, color=colour(number), label=layer, marker=mark, markersize=3)
        axes.axhline(1, color="0.5", linewidth=1, linestyle=DOTTED)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.locator_params(nbins=5)
        label_axes(axes, title, "step", "")
    key_beside(panels[-1], "layer")
    caption = (
        "Update of each layer against its true gradient: cosine; cosine after the mean activity, "
        "which every kernel gets right, is taken out of both; gain, the update's length along the "
        "gradient over the gradient's own. 1 is back-propagation. Strong: averaged."
    )
    return "similarity", caption, figure


def predictions(config: Config, images: Tensor, labels: Tensor, logits: Tensor) -> Named:
    """Test pictures with the class that the network predicts.

    Args:
        images: (N, C, H, W), shown in gray or colour, each scaled to its own range.
        labels: (N,).
        logits: (N, K).
    """
    from matplotlib.figure import Figure

    known = SETS.get(config.data.dataset)
    names = known.classes if known else [str(k) for k in range(logits.shape[-1])]
    shares, guesses = logits.float().softmax(-1).max(-1)
    columns = 8
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(8.0, 1.36 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    right = 0
    for axes, image, *item in zip(
        grid.flat, _pictures(images), labels.tolist(), guesses.tolist(), shares.tolist(),
        strict=False,
    ):  # fmt: skip
        wanted, guess, share = item
        axes.imshow(image, cmap="gray_r", interpolation="nearest")
        said = f"{names[guess]}  {share:.0%}"
        right += guess == wanted
        style: dict[str, Any] = {"fontsize": 8, "loc": "center", "pad": 3}
        if guess == wanted:
            axes.set_title(said, fontweight="normal", **style)
        else:
            axes.set_title(f"{said}\nis {names[wanted]}", color="C1", **style)
    for axes in grid.flat:
        axes.set_axis_off()
    caption = (
        f"The first {len(labels)} pictures with the class given to each and its probability; "
        f"{right} are right."
    )
    return "predictions", caption, figure


def kernel_of(config: Config, order: int, kernel: Kernel) -> Tensor:
    """The kernel k[0..B-1], float64, that this run would have with another `order` and `kernel`.

    In carry mode it has all taps that are not 0, and at least 3 T + 13.
    """
    length = config.batch_size
    if config.taps is not None:
        return trace_kernel(config.delay, order, config.taps, kernel, config.readout)
    if config.carry:
        taps = support(config.delay, order, kernel)
        kept = trace_kernel(config.delay, order, taps, kernel, config.readout)
        shown = max(3 * config.delay + 13 - taps, 0)
        return torch.nn.functional.pad(kept, (0, shown))
    pairs = pairing(config.delay, order, length, kernel=kernel, readout=config.readout)
    # The last error to arrive, that of item B-1-T at time B-1, meets item s with weight k[B-1-s].
    return pairs.matrix[length - 1 - config.delay].flip(0)


def _cascade(order: int) -> str:
    return "ET (order 1)" if order == 1 else f"CET({order})"


def _own_name(config: Config) -> str:
    return {
        "cascade": _cascade(config.order), "ideal": "ideal delay", "sideways": "no memory"
    }[config.kernel]  # fmt: skip


def _readout(config: Config) -> str:
    return {
        "last": "the last stage",
        "optimal": "the best mix of all stages",
        "legendre": "the best mix of Legendre states",
    }[config.readout]


def _time(what: str) -> str:
    return f"{what} (steps of {SECONDS_PER_STEP} s)"


def _pictures(images: Tensor) -> NDArray[np.float32]:
    """Images (N, C, H, W) as pictures (N, H, W[, 3]) with values in [0, 1]."""
    images = in_unit(images)
    pictures = images.movedim(1, -1) if images.shape[1] == 3 else images.mean(1)
    return pictures.numpy()


def _liveliest(images: Tensor) -> tuple[int, int]:
    """Row and column of the pixel, in the middle of the picture, that changes most over time."""
    height, width = images.shape[-2:]
    top, left = height // 4, width // 4
    middle = images[:, 0, top : height - top, left : width - left].var(0, correction=0)
    row, column = divmod(int(middle.argmax()), middle.shape[1])
    return top + row, left + column


def _strip(axes: Axes, images: Tensor, row: int, column: int) -> None:
    """Pictures of the stream at the times they are shown, with one pixel marked."""
    length = len(images)
    every = -(-length // 16)
    for time in range(0, length, every):
        place = axes.inset_axes((time - 0.5, 0, every * 0.92, 1), transform=axes.transData)
        place.imshow(_pictures(images)[time], cmap="gray_r", interpolation="nearest")
        place.plot(column, row, "s", color="C0", markersize=2.4)
        place.set_axis_off()
    axes.set_axis_off()


def _smooth(values: Tensor) -> Tensor:
    """Mean over a window of a twentieth of the values, shorter at both ends."""
    reach = len(values) // 40
    return torch.stack(
        [values[max(0, i - reach) : i + reach + 1].nanmean() for i in range(len(values))]
    )
