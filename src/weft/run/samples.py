"""Draws samples of a trained model into its run's figures/, and stores the texts it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weft.atomic import write_text
from weft.engine.isolation import isolated
from weft.engine.loop import at_rest
from weft.errors import UsageError, asked_by
from weft.plots.images import save, save_animation
from weft.plots.style import style
from weft.run.directory import RunDirectory
from weft.run.model import Trained
from weft.task import calls
from weft.task.writing import Writing, Written


@isolated()
def draw(trained: Trained) -> list[Path]:
    """Writes every sample of the task as a PNG, GIF or text file into figures/, with an index.

    Returns: the files.
    """
    folder = RunDirectory(trained.directory.figures)
    folder.path.mkdir(exist_ok=True)
    index = []
    data, task = trained.data, trained.parts.task
    with style(), at_rest(trained.parts, trained.model, trained.step) as ctx:
        drawn = calls.pictures(task.sample, trained.model, data, ctx, sampled=True)
        for name, caption, picture in drawn:
            file = _saved(picture, folder.path / name)
            index.append({"file": file.name, "name": name, "caption": caption})
    folder.write_json("index", {"step": trained.step, "figures": index})
    return [folder.path / entry["file"] for entry in index]


@isolated()
def write(trained: Trained, asked: Writing) -> list[Written]:
    """The model's texts for some prompts, which are also written to the run's samples.txt.

    Raises:
        UsageError: if the model writes no text, or an option in `asked` does not apply to it.
    """
    with (
        asked_by("--prompt, --length"),
        at_rest(trained.parts, trained.model, trained.step) as ctx,
    ):
        texts = calls.write(trained.parts.task, trained.model, asked, ctx)
    if not texts:
        raise UsageError(
            f"a model of family `{trained.parts.config.family}` writes no text",
            where="--prompt",
            hint="without it, `weft sample` draws what the model makes",
        )
    write_text(trained.directory.samples, "\n\n".join(map(str, texts)) + "\n")
    return texts


def _saved(picture: Any, path: Path) -> Path:
    """Writes a sample and returns its file, whose ending says what it is."""
    if isinstance(picture, str):
        path = path.with_name(f"{path.name}.txt")
        write_text(path, picture)
    elif isinstance(picture, Sequence):
        path = path.with_name(f"{path.name}.gif")
        save_animation(picture, path)
    else:
        path = path.with_name(f"{path.name}.png")
        save(picture, path)
    return path
