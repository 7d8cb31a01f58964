"""Plans with a jepa run's frozen network: every planner, open loop and replanning at each frame."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from weft.papers import script
from weft.studies.jepa_probes import learnt_dots

PLANNERS = ("gradient", "cem", "mppi")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study plans RUN [--episodes N] [--horizon H]`; returns the exit code."""
    return script.run(_compare, argv)


def _compare(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study plans", description=__doc__)
    parser.add_argument("run", type=Path, help="a run's directory")
    parser.add_argument("--episodes", type=script.at_least(1), default=100, help="episodes planned")
    parser.add_argument(
        "--horizon", type=script.at_least(1), default=8, help="actions ahead of a new frame"
    )
    flags = script.parsed(parser, words)
    rows = compare(flags.run, flags.episodes, flags.horizon)
    for number, (planner, horizon, found) in enumerate(rows):
        if number == 0:
            print(f"{'planner':<10} {'horizon':<8} {'miss px':>8} {'within 1 px':>12} {'s':>8}")
        print(
            f"{planner:<10} {horizon or 'once':<8} {found['mpc_miss_px']:8.2f} "
            f"{100 * found['mpc_success']:10.0f} % {found['mpc_seconds']:8.3f}",
            flush=True,
        )
    print(f"{'still':<10} {'':<8} {found['mpc_still_px']:8.2f}")


def compare(
    path: Path, episodes: int, horizon: int
) -> Iterator[tuple[str, int | None, dict[str, float]]]:
    """Yields for each planner its name, its horizon, and its `Planned.metrics`.

    A horizon of None means that all actions are planned once, from the first frame.

    Args:
        path: a run of jepa.
        episodes: number of goals, the same for all planners.
        horizon: actions planned at every new frame.

    Raises:
        UsageError: if the run is not one of jepa with a moving dot.
    """
    import torch

    from weft.families.jepa.score.readout import Reading

    config, model, source = learnt_dots(path)
    with torch.no_grad():
        readout, _ = Reading(config, model, source).readouts()
        for planner in PLANNERS:
            for ahead in (None, horizon):
                plan = {"mpc_planner": planner, "mpc_horizon": ahead, "mpc_episodes": episodes}
                probe = config.probe.model_copy(update=plan)
                chosen = config.model_copy(update={"probe": probe})
                yield planner, ahead, Reading(chosen, model, source).planned(readout).metrics()
