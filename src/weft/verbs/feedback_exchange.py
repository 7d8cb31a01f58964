"""`weft import` and `weft export --to original`: the feedback original's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weft.errors import asked_by
from weft.terminal import show

if TYPE_CHECKING:
    from weft.run.registry import Run


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint of the original.")],
    dataset: Annotated[
        str, typer.Option(help="A key of `datasets` in config.json, for which it was trained.")
    ],
    out: Annotated[Path, typer.Option("--dir", help="Where the new run goes.")],
    config: Annotated[
        Path | None, typer.Option(help="Its config.json; that beside the checkpoint if unset.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Run of the network that a feedback network writes into.")
    ] = None,
    reverse: Annotated[
        bool, typer.Option(help="Whether a feedback network writes the last block first.")
    ] = True,
) -> None:
    """Make a run of a checkpoint of the feedback original."""
    from weft.papers.feedback.config_file import OldConfig
    from weft.papers.feedback.exchange import adopt

    with asked_by("--dataset"):
        old = OldConfig(config or file.parent / "config.json", dataset)
    path = adopt(file, old, out, {"feedback_reverse": reverse, "engine.compile": False}, base)
    show(str(path))


def export(run: Run, checkpoint: str | None, file: Path) -> None:
    """Writes a run's checkpoint as the feedback original would have."""
    import torch

    from weft.atomic import atomic_writer, destined
    from weft.papers.feedback import exchange

    saved = exchange.export(run, checkpoint)
    with atomic_writer(destined(file)) as opened:
        torch.save(saved, opened)
