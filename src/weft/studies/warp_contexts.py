"""Scores runs of warp, and guesses that learn nothing, at several lengths of context."""

# N sequences, T steps, d channels, L steps of context

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weft.errors import UsageError
from weft.papers import script

if TYPE_CHECKING:
    from torch import Tensor

Row = tuple[str, int, dict[str, float]]
"""What was scored, its context L, its metrics."""


def main(argv: Sequence[str] | None = None) -> int:
    """`weft study contexts RUN... [--contexts L...] [--period P]`; the exit code.

    Prints mse and, where a likelihood was learnt, bpd of the test steps from L on: of each run and
    of guesses on its test set, then mean and standard error over the runs of a `model_type`.
    """
    return script.run(_print_scores, argv)


def _print_scores(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study contexts", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="directories of runs")
    parser.add_argument(
        "--contexts", nargs="+", type=int, metavar="L", help="steps given; each run's own if unset"
    )
    parser.add_argument("--period", type=int, metavar="P", help="guess that P steps recur, too")
    flags = parser.parse_args(words)
    groups: dict[tuple[str, int], list[dict[str, float]]] = {}
    for path in flags.runs:
        for name, context, metrics in scores(path, flags.contexts, flags.period):
            _print(f"{name} {path}", context, {key: [metrics[key]] for key in metrics})
            groups.setdefault((name, context), []).append(metrics)
    print()
    for (name, context), rows in groups.items():
        _print(name, context, {key: [row[key] for row in rows] for key in rows[0]})


def scores(
    path: Path, contexts: Sequence[int] | None = None, period: int | None = None
) -> Iterator[Row]:
    """A run's errors on its test set, and those of guesses; see `guesses`.

    Args:
        path: a run that completes or forecasts sequences from their first L steps.
        contexts: L; the run's own if None, and no other where its data hold no more.
        period: of the guess `recur`; none if None.
    Raises:
        UsageError: if the run is no such run, or L leaves nothing to give or to score.
    """
    import torch

    from weft.families.warp.baselines.models import Baseline
    from weft.families.warp.model import WarpModel
    from weft.families.warp.score.inference import context_of, mode_of
    from weft.families.warp.score.scoring import score
    from weft.families.warp.sets.source import SeriesSource
    from weft.families.warp.task import WarpTask
    from weft.run.named import named

    run = named(path).load()
    task, model, source = run.parts.task, run.model, run.data.test
    if not isinstance(task, WarpTask) or not task.config.reconstructs:
        raise UsageError(f"{path} completes no sequences")
    assert isinstance(model, WarpModel | Baseline)
    if not isinstance(source, SeriesSource):
        raise UsageError(f"{path} has no test set")
    spec = task.spec()
    own = context_of(task.config, spec)
    if mode_of(task.config, spec) != "feedback" and (source.past is None or contexts):
        raise UsageError(f"{path} feeds no predictions back: its data say what it is given")
    batches = source.batches(task.config.eval.batch_size)
    truth = torch.cat([batch.get("target", batch["x"]) for batch in batches]).double()
    for context in contexts or (own,):
        if not 0 < context < spec.steps:
            raise UsageError(f"a context of {context} steps: there are {spec.steps}, some to score")
        with torch.no_grad():
            found = score(task.config, spec, model, source, run.parts.context(run.step), context)
        name: str = task.config.model_type
        yield name, context, {key: value for key, value in found.items() if key in ("mse", "bpd")}
        for name, guess in guesses(truth[:, :context], spec.steps - context, period):
            yield name, context, {"mse": float((truth[:, context:] - guess).square().mean())}


def guesses(given: Tensor, steps: int, period: int | None = None) -> Iterator[tuple[str, Tensor]]:
    """What one may say of the next steps of sequences (N, L, d) without learning.

    Yields:
        last: the last value given, (N, 1, d).
        mean: the mean of those given, (N, 1, d).
        recur: the mean of those given a whole number of periods before, (N, steps, d), if L holds
            a period.
    """
    import torch

    yield "last", given[:, -1:]
    yield "mean", given.mean(1, keepdim=True)
    length = given.shape[1]
    if period is not None and 0 < period <= length:
        whole = given[:, length % period :]
        whole = whole.reshape(len(given), -1, period, given.shape[2]).mean(1)
        yield "recur", whole[:, torch.arange(steps) % period]


def _print(name: str, context: int, metrics: Mapping[str, Sequence[float]]) -> None:
    """A line: the mean of each metric, and its standard error where there are several values."""
    words = []
    for key, values in metrics.items():
        spread = ""
        if len(values) > 1:
            spread = f" ± {statistics.stdev(values) / len(values) ** 0.5:.4f}"
        words.append(f"{key} {statistics.fmean(values):.4f}{spread}")
    print(f"L = {context:<5} {'  '.join(words):<44} {name}", flush=True)
