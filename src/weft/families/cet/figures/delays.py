"""Figures over many runs: accuracy of each trace rule over the delay, and its causes."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from weft.families.cet.config import Config
from weft.families.cet.figures.report import SECONDS_PER_STEP, kernel_of
from weft.plots.axes import key_beside, label_axes
from weft.plots.images import Named
from weft.plots.style import DOTTED, MARKERS, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REPEATS = ("seed", "run", "log", "checkpoint", "engine", "eval", "track_sim", "sim_every")
"""Options in which runs of one setting may differ."""


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        config: of the run, not validated again.
        rule: a description of its traces.
        setting: equal for runs that differ in their seed alone.
        accuracy: on the test set; on validation items if there is no test set.
        held_out: accuracy on validation items, by which settings are chosen; None without them.
        agreement: centred cosine of each layer's last update and true gradient.
    """

    config: Config
    rule: str
    setting: str
    accuracy: float
    held_out: float | None
    agreement: Mapping[str, float]


def figures(
    runs: Sequence[tuple[Mapping[str, Any], Mapping[str, float]]],
) -> Iterator[Named]:
    """Accuracy and agreement over the delay in seconds, and the kernels of the largest delay.

    Args:
        runs: plain config of each finished run, and its metrics.
    """
    found = list(filter(None, (result_of(*run) for run in runs)))
    late = [result for result in found if result.config.delay > 0]
    exact = [result for result in found if result.config.delay == 0]
    rules = list(dict.fromkeys(result.rule for result in late))
    kept = chosen(late)
    if len({result.config.delay for result in kept}) > 1:
        yield _accuracies(kept, rules, chosen(exact))
        if any(result.agreement for result in kept):
            yield _agreements(kept, rules)
    if len(rules) > 1:
        yield _kernels(kept, rules)


def result_of(config: Mapping[str, Any], metrics: Mapping[str, float]) -> Result | None:
    """The result of a run; None without a finite accuracy, as in reinforcement learning."""
    held_out = metrics.get("val/accuracy")
    accuracy = metrics.get("test/accuracy", held_out)
    if accuracy is None or not math.isfinite(accuracy):
        return None
    known = Config.model_construct(**config)
    kept = {key: value for key, value in config.items() if key not in _REPEATS}
    agreement = {
        key.partition("/")[2]: value
        for key, value in metrics.items()
        if key.startswith("sim_centred/") and value is not None
    }
    setting = json.dumps(kept, sort_keys=True, default=str)
    return Result(known, _rule(known), setting, accuracy, held_out, agreement)


def chosen(results: Sequence[Result]) -> list[Result]:
    """The runs of one setting for each rule and delay.

    The setting is the best one on validation items; without validation items the one with the most
    runs, and the first of these. It is never chosen by the test set.
    """
    groups: dict[tuple[str, int], dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        groups[result.rule, result.config.delay][result.setting].append(result)
    return [result for settings in groups.values() for result in max(settings.values(), key=_merit)]


def _merit(runs: Sequence[Result]) -> tuple[float, int]:
    held_out = [run.held_out for run in runs if run.held_out is not None]
    return (fmean(held_out) if held_out else -math.inf), len(runs)


def _rule(config: Config) -> str:
    if config.kernel != "cascade":
        name = {"ideal": "ideal delay", "sideways": "no memory"}[config.kernel]
    else:
        name = "ET" if config.order == 1 else f"CET({config.order})"
        name += "" if config.readout == "last" else f", {config.readout}"
    return name if config.covariance is None else f"{name}, covariance"


def _accuracies(late: Sequence[Result], rules: Sequence[str], exact: Sequence[Result]) -> Named:
    figure, (axes,) = _empty()
    for number, rule in enumerate(rules):
        mine = [result for result in late if result.rule == rule]
        _line(axes, number, rule, [(result.config.delay, result.accuracy) for result in mine])
    caption = "Accuracy against the delay of the error; bars are standard errors over seeds."
    if exact:
        reached = fmean(result.accuracy for result in exact)
        axes.axhline(reached, color="0.4", linestyle=DOTTED, label="back-propagation")
        caption += " Dotted: back-propagation, that is, no delay."
    if any(result.held_out is not None for result in late):
        caption += " Of several settings, the one that did best on held-out items is shown."
    _in_seconds(axes, late)
    label_axes(axes, "What is learnt from late errors", "delay of the error (s)", "accuracy")
    key_beside(axes)
    return "over_delay", caption, figure


def _agreements(late: Sequence[Result], rules: Sequence[str]) -> Named:
    layers = list(dict.fromkeys(layer for result in late for layer in result.agreement))
    figure, panels = _empty(len(layers))
    for axes, layer in zip(panels, layers, strict=True):
        for number, rule in enumerate(rules):
            points = [
                (result.config.delay, result.agreement[layer])
                for result in late
                if result.rule == rule and layer in result.agreement
            ]
            _line(axes, number, rule, points)
        axes.axhline(1, color="0.4", linestyle=DOTTED)
        _in_seconds(axes, late)
        label_axes(axes, layer, "delay of the error (s)", "")
    panels[0].set_ylabel("cosine, mean removed")
    key_beside(panels[-1])
    caption = (
        "Agreement of the last logged update of each layer with its true gradient, the mean "
        "activity taken out of both; 1 is back-propagation."
    )
    return "agreement", caption, figure


def _kernels(late: Sequence[Result], rules: Sequence[str]) -> Named:
    figure, (axes,) = _empty()
    delay = max(result.config.delay for result in late)
    for number, rule in enumerate(rules):
        config = next(
            (run.config for run in late if run.rule == rule and run.config.delay == delay), None
        )
        if config is None or config.kernel != "cascade" or config.covariance is not None:
            continue
        kernel = kernel_of(config, config.order, config.kernel)[: 3 * delay + 1]
        seconds = [SECONDS_PER_STEP * step for step in range(len(kernel))]
        axes.plot(seconds, kernel.numpy(), color=colour(number), label=rule)
    axes.axvline(SECONDS_PER_STEP * delay, color="0.4", linestyle=DOTTED, label="the error comes")
    title = f"What the traces remember (delay {delay * SECONDS_PER_STEP:g} s)"
    label_axes(axes, title, "time since the input (s)", "weight in the trace")
    key_beside(axes)
    caption = (
        "Weight of an input in each rule's trace, by how long ago it was shown. The covariance "
        "form has the kernel of the rule without it."
    )
    return "traces", caption, figure


def _empty(panels: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 + 2.6 * panels, 3.4), layout="constrained")
    return figure, [*figure.subplots(1, panels, squeeze=False)[0]]


def _line(axes: Axes, number: int, rule: str, points: Sequence[tuple[int, float]]) -> None:
    """Means and standard errors over the runs of each delay; the delay in seconds, logarithmic."""
    by_delay: dict[int, list[float]] = defaultdict(list)
    for delay, value in points:
        by_delay[delay].append(value)
    delays = sorted(by_delay)
    axes.errorbar(
        [SECONDS_PER_STEP * delay for delay in delays],
        [fmean(by_delay[delay]) for delay in delays],
        yerr=[_error(by_delay[delay]) for delay in delays],
        color=colour(number),
        marker=MARKERS[number % len(MARKERS)],
        markeredgewidth=0,
        label=rule,
    )


def _in_seconds(axes: Axes, results: Sequence[Result]) -> None:
    """A logarithmic axis with a tick at each delay."""
    from matplotlib.ticker import FixedLocator, NullLocator

    delays = sorted({result.config.delay for result in results})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([SECONDS_PER_STEP * delay for delay in delays]))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def _error(values: Sequence[float]) -> float:
    """Standard error of the mean; 0 of one value."""
    if len(values) < 2:
        return 0.0
    mean = fmean(values)
    spread = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(spread / len(values))
