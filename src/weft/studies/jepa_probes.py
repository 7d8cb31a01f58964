"""Compares the exact probe with the published one on a jepa run's frozen network."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weft.errors import UsageError
from weft.papers import script

if TYPE_CHECKING:
    from weft.families.jepa.config import Config
    from weft.families.jepa.model import Model
    from weft.families.jepa.sets.dots import DotsSource


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study probes RUN [--size N] [--epochs E]`; returns the exit code."""
    return script.run(_compare, argv)


def _compare(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study probes", description=__doc__)
    parser.add_argument("run", type=Path, help="a run's directory")
    parser.add_argument(
        "--size", type=script.at_least(2), default=10000, help="sequences in a pass"
    )
    parser.add_argument(
        "--epochs", type=script.at_least(1), default=30, help="passes of the published probe"
    )
    flags = script.parsed(parser, words)
    found = []
    for kind, rmse, seconds in compare(flags.run, flags.size, flags.epochs):
        print(f"{kind:<12} {rmse:8.4f} px {seconds:9.2f} s", flush=True)
        found.append((rmse, seconds))
    (exact, fast), (published, slow) = found
    ratio = exact / published
    print(f"exact error {ratio:.3f} of the published; {slow / fast:.1f} times faster")


def compare(path: Path, size: int, epochs: int) -> Iterator[tuple[str, float, float]]:
    """Yields for each probe its name, error on test episodes in pixels, and seconds to fit it.

    Args:
        path: a run of jepa.
        size: sequences in a pass; the exact probe makes one pass.
        epochs: passes of the published probe.

    Raises:
        UsageError: if the run is not one of jepa with a moving dot.
    """
    import torch

    from weft.families.jepa.score.readout import Reading

    config, model, source = learnt_dots(path)
    for kind in ("closed_form", "published"):
        probe = {"kind": kind, "size": size, "epochs": epochs, "epochs_enc": 1}
        chosen = config.model_copy(update={"probe": config.probe.model_copy(update=probe)})
        reading = Reading(chosen, model, source)
        with torch.no_grad():
            started = time.perf_counter()
            readout, first = reading.readouts()
            seconds = time.perf_counter() - started
            [errors], _ = reading.squared_errors([readout], first)
        yield kind, float(errors.mean().sqrt()) * source.norm.location_scale, seconds


def learnt_dots(path: Path) -> tuple[Config, Model, DotsSource]:
    """Config, trained model and test episodes of a jepa run.

    Raises:
        UsageError: if the run is not one of jepa with a moving dot.
    """
    from weft.families.jepa.config import Config
    from weft.families.jepa.model import Model
    from weft.families.jepa.sets.dots import DotsSource
    from weft.run.named import named

    run = named(path).load()
    config, model, source = run.parts.config, run.model, run.data.test
    if not isinstance(config, Config) or not isinstance(source, DotsSource):
        raise UsageError(
            f"{path} has not learnt to tell where dots are", expected="a run of jepa with dots"
        )
    assert isinstance(model, Model)
    return config, model, source
