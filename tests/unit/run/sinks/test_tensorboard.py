"""TensorBoard's files hold scalars, settings beside the last metrics, and the run's pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.toy.task import ToyTask
from weft import api
from weft.run.registry import Run

WORDS = ("toy/small", "steps=8", "log.every=2")


def events(run: Run) -> list[Any]:
    """All values of all event files, oldest first."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return [
        value
        for file in sorted((run.path / "logs").glob("events*"))
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]


@pytest.fixture
def run(toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that draws a picture, an animation and a text."""
    from matplotlib.figure import Figure
    from PIL import Image

    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    samples = [("square", "A square.", Figure(figsize=(1, 1))), ("film", "A film.", frames),
               ("words", "Words.", "once upon")]  # fmt: skip
    monkeypatch.setattr(ToyTask, "sample", lambda *_: iter(samples))
    done = api.train(*WORDS)
    assert done is not None
    return done


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_settings_metrics_and_pictures_are_in_the_files(run: Run) -> None:
    from PIL import Image
    from tensorboard.plugins.hparams import plugin_data_pb2

    found = events(run)
    tags = {value.tag for value in found}
    assert {"train/loss", "val/loss", "test/loss"} <= tags
    start = next(v for v in found if v.tag == "_hparams_/session_start_info")
    told = plugin_data_pb2.HParamsPluginData.FromString(start.metadata.plugin_data.content)
    settings = told.session_start_info.hparams
    assert settings["optim.lr"].number_value == run.config["optim"]["lr"]
    assert settings["family"].string_value == "toy"
    pictures = {value.tag: value for value in found if value.tag.startswith("figures/")}
    folder = run.path / "figures"
    files = {f"figures/{path.stem}": path for path in folder.iterdir() if path.suffix != ".json"}
    text = files.pop("figures/words")
    assert pictures["figures/words/text_summary"].tensor.string_val[0].decode() == (
        f"```\n{text.read_text()}\n```"
    )
    assert {"figures/square", "figures/film"} <= files.keys() <= pictures.keys()
    for tag, path in files.items():
        width, height, kept = pictures[tag].tensor.string_val
        assert kept == path.read_bytes()
        with Image.open(path) as opened:
            assert (int(width), int(height)) == opened.size


def test_without_a_report_there_are_settings_and_no_pictures(toy: str, workspace: Path) -> None:
    done = api.train(*WORDS, report=False)
    assert done is not None
    tags = {value.tag for value in events(done)}
    assert "_hparams_/session_start_info" in tags
    assert not any(tag.startswith("figures/") for tag in tags)


def test_a_run_without_tensorboard_has_none(toy: str, workspace: Path) -> None:
    done = api.train(*WORDS, "log.tensorboard=false")
    assert done is not None
    assert not (done.path / "logs").exists()
