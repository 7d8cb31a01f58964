"""`weft import` and `weft export --to original`: checkpoints of feedback's original code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weft.errors import asked_by
from weft.terminal import show

if TYPE_CHECKING:
    from weft.run.registry import Run


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint of feedback's original code.")
    ],
    dataset: Annotated[
        str, typer.Option(help="Data set it was trained on: a key of `datasets` in config.json.")
    ],
    out: Annotated[Path, typer.Option("--dir", help="Directory of the new run.")],
    config: Annotated[
        Path | None, typer.Option(help="Its config.json; by default the one beside it.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Run of the base network, for a feedback network.")
    ] = None,
    reverse: Annotated[
        bool, typer.Option(help="Whether the feedback network writes the last block first.")
    ] = True,
) -> None:
    """Make a run from a checkpoint of feedback's original code."""
    from weft.papers.feedback.config_file import OldConfig
    from weft.papers.feedback.exchange import adopt

    with asked_by("--dataset"):
        old = OldConfig(config or file.parent / "config.json", dataset)
    path = adopt(file, old, out, {"feedback_reverse": reverse, "engine.compile": False}, base)
    show(str(path))


def export(run: Run, checkpoint: str | None, file: Path) -> None:
    """Writes a run's checkpoint in the format of feedback's original code."""
    import torch

    from weft.atomic import atomic_writer, destined
    from weft.papers.feedback import exchange

    saved = exchange.export(run, checkpoint)
    with atomic_writer(destined(file)) as opened:
        torch.save(saved, opened)
