"""Commands that exchange trained models: export, push, pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weft.cli.arguments import Accept, Checkpoint, RunPath
from weft.cli.output import emit, pairs
from weft.terminal import tell
from weft.verbs.arguments import Json

Repository = Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="A model repository on the Hugging Face hub.")
]


def export(
    run: RunPath,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="File to write; by default in the run.")
    ] = None,
    to: Annotated[
        str, typer.Option(help="`torch` (torch.export), `onnx`, or a format of the run's family.")
    ] = "torch",
    checkpoint: Checkpoint = None,
    accept: Accept = "",
    as_json: Json = False,
) -> None:
    """Write a run's model as a program that runs without weft: torch or ONNX."""
    from weft import api

    written = api.export(run, file, to=to, checkpoint=checkpoint, accept=accept, tell=tell)
    emit(as_json, {"file": str(written)}, lambda: str(written))


def push(
    run: RunPath,
    repository: Repository,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private, if it is a new one.")
    ] = False,
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
        Path | None, typer.Argument(metavar="[FOLDER]", help="Folder to fill; by default ./NAME.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit; by default the newest.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Download weights that `weft push` put on the hub.

    `weft train … init=FILE` starts from them; in Python `weft.load(FILE)` gives the model.
    """
    from weft.run.exchange.hub import pull as download

    file = download(repository, folder or Path(repository.rpartition("/")[2]), revision)
    emit(as_json, {"file": str(file)}, lambda: pairs({"weights": str(file)}))
