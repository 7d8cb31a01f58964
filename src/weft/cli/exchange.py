"""Commands that give trained models away and take them in: export, push, pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weft.cli.arguments import Accept, Checkpoint, Json, RunPath
from weft.cli.output import emit, pairs
from weft.terminal import tell

Repository = Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="A model repository on the Hugging Face hub.")
]


def export(
    run: RunPath,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to; in the run if not said.")
    ] = None,
    to: Annotated[
        str, typer.Option(help="`torch` (torch.export), `onnx`, or a form of the run's family.")
    ] = "torch",
    checkpoint: Checkpoint = None,
    accept: Accept = "",
    as_json: Json = False,
) -> None:
    """Write a run's model as a program that needs no weft: torch, ONNX."""
    from weft import api

    written = api.export(run, file, to=to, checkpoint=checkpoint, accept=accept, tell=tell)
    emit(as_json, {"file": str(written)}, lambda: str(written))


def push(
    run: RunPath,
    repository: Repository,
    private: Annotated[bool, typer.Option("--private", help="Let only you see a new one.")] = False,
    as_json: Json = False,
) -> None:
    """Upload a run's weights and a model card to the Hugging Face hub."""
    from weft.run.exchange.hub import push as upload
    from weft.run.named import named

    address = upload(named(run), repository, private=private)
    emit(as_json, {"address": address}, lambda: address)


def pull(
    repository: Repository,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Where to; ./NAME if not said.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit; the newest if not said.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Download weights that `weft push` put on the hub.

    `weft train … init=FILE` starts from them; in Python `weft.load(FILE)` gives the model.
    """
    from weft.run.exchange.hub import pull as download

    file = download(repository, folder or Path(repository.rpartition("/")[2]), revision)
    emit(as_json, {"file": str(file)}, lambda: pairs({"weights": str(file)}))
