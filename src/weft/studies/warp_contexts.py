"""Scores warp runs, and simple guesses, at several lengths of context."""

# N sequences, T steps, d channels, L steps of context

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.errors import UsageError
from weft.papers import script
from weft.reports.tables import mean_of
from weft.studies.rates.rows import read
from weft.studies.rates.table import axes_of
from weft.studies.warp_guesses import errors, from_pairs, guesses, learnt

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = ("mse", "shuffled", "bpd", "coverage")
Row = tuple[str, int, dict[str, float]]
"""Name of a run or guess, its context L, its metrics."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study contexts RUN... [--contexts L...] [--period P]`, or `--rows FILE...`.

    Prints for each run, and for guesses on its test set, the mse of the steps from L on, predicted
    from the sequence's own context and from another sequence's (shuffled). If a likelihood was
    learnt, also bpd; bpd after scaling all deviations by one factor chosen on validation
    (bpd_scaled); and the share of targets in the central 90 % (coverage). Then mean and standard
    error over the runs of each `model_type`. With `--rows`, the same for the chosen runs of each
    form and point that `weft study rates` wrote.

    Returns: the exit code.
    """
    return script.run(_print_scores, argv)


def _print_scores(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study contexts", description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="directories of runs")
    parser.add_argument("--rows", nargs="+", type=Path, help="files that `weft study rates` wrote")
    parser.add_argument(
        "--contexts",
        nargs="+",
        type=script.at_least(1),
        metavar="L",
        help="steps given; each run's own if unset",
    )
    parser.add_argument(
        "--period", type=script.at_least(1), metavar="P", help="guess that P steps recur, too"
    )
    flags = script.parsed(parser, words)
    if flags.rows is None and not flags.runs:
        raise UsageError("there is nothing to score", expected="runs, or --rows FILE")
    for name, rows in _chosen(flags.rows or []).items():
        _print_means(name, rows)
    groups: dict[tuple[str, int], list[dict[str, float]]] = {}
    for path in flags.runs:
        for name, context, metrics in scores(path, flags.contexts, flags.period):
            _print(f"{name} {path}", context, {key: [metrics[key]] for key in metrics})
            groups.setdefault((name, context), []).append(metrics)
    print()
    for (name, context), rows in groups.items():
        _print_means(name, rows, context)


def _chosen(files: Sequence[Path]) -> dict[str, list[dict[str, float]]]:
    """The metrics to print of the chosen runs of a study of rates, by form and point."""
    forms: dict[str, list[dict[str, float]]] = {}
    for row in read(files, ("form", "chosen")):
        parts = (_part_of(row, "test/"), _part_of(row, "val/"))
        if row["chosen"]:
            point = [f"{axis}={row[axis]}" for axis in axes_of(row)]
            forms.setdefault(" ".join([row["form"], *point]), []).append(_shown(*parts))
    return forms


def _part_of(row: Mapping[str, Any], split: str) -> dict[str, float]:
    """The metrics of a split, without the split's name before them."""
    return {key.removeprefix(split): row[key] for key in row if key.startswith(split)}


def scores(
    path: Path, contexts: Sequence[int] | None = None, period: int | None = None
) -> Iterator[Row]:
    """Yields the errors of a run on its test set, and those of the guesses in `warp_guesses`.

    Args:
        path: a run that completes or forecasts sequences from their first L steps.
        contexts: lengths L; the run's own if None.
        period: of the guess `recur`; None to leave that guess out.

    Raises:
        UsageError: if the run does not complete sequences, its data allow no other L, or L leaves
            nothing to give or to score.
    """
    import torch

    from weft.families.warp.model import Model
    from weft.families.warp.score.inference import context_of, mode_of
    from weft.families.warp.score.scoring import score
    from weft.families.warp.sets.source import SeriesSource
    from weft.families.warp.task import WarpTask
    from weft.run.named import named

    run = named(path).load()
    task, model, source = run.parts.task, run.model, run.data.test
    if not isinstance(task, WarpTask) or not task.config.reconstructs:
        raise UsageError(f"{path} completes no sequences")
    assert isinstance(model, Model)
    if not isinstance(source, SeriesSource):
        raise UsageError(f"{path} has no test set")
    spec, config = task.spec(), task.config
    own, open_ended = context_of(config, spec), mode_of(config, spec) in ("feedback", "query")
    pairs = config.data.dataset == "icl" and config.data.cumsum == "time"
    if not open_ended and ((source.past is None and not pairs) or contexts):
        raise UsageError(f"{path} feeds no predictions back: its data say what it is given")

    def truth(of: SeriesSource, name: str = "target") -> Tensor:
        batches = of.batches(config.eval.batch_size)
        return torch.cat([batch.get(name, batch["x"]) for batch in batches]).cpu().double()

    train, val = run.data.train, run.data.val
    assert isinstance(train, SeriesSource) and (val is None or isinstance(val, SeriesSource))
    asked, seen = truth(source), (truth(train), None if val is None else truth(val))
    bound = config.std_lower_bound if config.loss == "nll" else None
    for context in contexts or (own,):
        if not 0 < context < spec.steps:
            raise UsageError(f"a context of {context} steps: there are {spec.steps}, some to score")
        ctx = run.parts.context(run.step)
        with torch.no_grad():
            found = score(config, spec, model, source, ctx, context)
            held = None if val is None else score(config, spec, model, val, ctx, context)
        name: str = config.model_type
        yield name, context, _shown(found, held)
        given, rest = asked[:, :context], asked[:, context:]
        if pairs:
            found_by = from_pairs(truth(source, "x"), truth(train, "x"), seen[0][:, context:])
        else:
            found_by = chain(
                guesses(given, spec.steps - context, period), learnt(*seen, given, context)
            )
        for name, guess in found_by:
            yield name, context, errors(guess, rest, bound)


def _shown(found: Mapping[str, float], held: Mapping[str, float] | None) -> dict[str, float]:
    """The metrics to print, from a run's metrics on test and validation data."""
    shown = {key: found[key] for key in SHOWN if key in found}
    if held is not None and "calibration" in held:
        # Calibration: all deviations are scaled by the one factor that is best on validation.
        factor, strayed = held["calibration"], found["calibration"] ** 2
        nats = math.log(factor) + 0.5 * strayed * (factor**-2 - 1)
        shown["bpd_scaled"] = found["bpd"] + nats / math.log(2)
    return shown


def _print_means(
    name: str, rows: Sequence[Mapping[str, float]], context: int | None = None
) -> None:
    _print(name, context, {key: [row[key] for row in rows] for key in rows[0]})


def _print(name: str, context: int | None, metrics: Mapping[str, Sequence[float]]) -> None:
    """Prints a line with the mean of each metric and, for several values, its standard error."""
    words = []
    for key, values in metrics.items():
        mean = mean_of(values)
        spread = "" if mean.error is None else f" ± {mean.error:.4f}"
        words.append(f"{key} {mean.value:.4f}{spread}")
    given = "" if context is None else f"L = {context:<5} "
    print(f"{given}{'  '.join(words):<44} {name}", flush=True)
