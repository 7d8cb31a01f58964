"""Draws what a trained model makes into its run's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weft.engine.loop import at_rest
from weft.plots.images import save, save_animation
from weft.plots.style import style
from weft.run.directory import RunDirectory
from weft.run.model import Trained
from weft.task import calls


def draw(trained: Trained) -> list[Path]:
    """Writes every sample of the task as a PNG or GIF below figures/, with an index of captions."""
    folder = RunDirectory(trained.directory.figures)
    folder.path.mkdir(exist_ok=True)
    index = []
    data, task = trained.data, trained.parts.task
    with style(), at_rest(trained.parts, trained.model, trained.step) as ctx:
        drawn = calls.pictures(task.sample, trained.model, data, ctx, moving=True)
        for name, caption, picture in drawn:
            moves = isinstance(picture, Sequence)
            file = f"{name}.{'gif' if moves else 'png'}"
            (save_animation if moves else save)(picture, folder.path / file)
            index.append({"file": file, "name": name, "caption": caption})
    folder.write_json("index", {"step": trained.step, "figures": index})
    return [folder.path / entry["file"] for entry in index]
