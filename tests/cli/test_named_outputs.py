"""What a user names to be written: its folder is made, and a name that can be none is a mistake."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from PIL import Image

from weft import api
from weft.cli import main
from weft.cli.verbs import _OWN, declared
from weft.config.family import resolve

SHORT = ("cet/digits", "hidden_dim=4", "steps=1", "log.tensorboard=false", "engine.threads=1")

# Command, with PLACE for what is named, and the files that are there then.
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "train": (("train", *SHORT, "--quiet", "run.dir=PLACE"), "PLACE/status.json"),
    "sweep": (("sweep", *SHORT, "seed=0", "--dir", "PLACE"), "PLACE/sweep.yaml"),
    "export": (("export", "run", "PLACE.pt2"), "PLACE.pt2"),
    "compare": (("compare", "run", "again", "--page", "PLACE.html"), "PLACE.html"),
    "data pack": (("data", "pack", "rows.csv", "--steps", "2", "--out", "PLACE.npz"), "PLACE.npz"),
    "data fit": (("data", "fit", "a.png", "--splats", "4", "--steps", "1", "--form", "npz", "--out",
                  "PLACE", "--quiet"), "PLACE/table.csv"),
    "data draw": (("data", "draw", "fitted", "--out", "PLACE", "--quiet"), "PLACE/a.png"),
    "data convert": (("data", "convert", "fitted", "--out", "PLACE", "--to", "pt"), "PLACE/a.pt"),
}  # fmt: skip
INSIDE = {
    ("compress", "out"): "tests/cli/test_gaussvae_compress.py",
    ("decompress", "out"): "tests/cli/test_gaussvae_compress.py",
    ("pull", "folder"): "the hub",
    ("import", "file"): "what is read",
    ("import", "out"): "tests/cli/papers/test_feedback_exchange.py",
    ("reproduce", "out"): "a copy of what is in its root",
    ("data convert", "log"): "beside its --out",
}
"""Command and parameter -> where it is tested, if not here."""
NAMES = {"out", "file", "page", "directory", "folder", "log"}
"""How parameters are called that name what is written."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, a table, a picture, and splats of it."""
    folder = tmp_path_factory.mktemp("named")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        api.train(*SHORT, report=False, **{"run.dir": "run"})
        shutil.copytree("run", "again")
        rows = np.arange(24.0).reshape(12, 2)
        np.savetxt("rows.csv", rows, delimiter=",", header="a,b", comments="")
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save("a.png")
        words = COMMANDS["data fit"][0]
        assert main([word.replace("PLACE", "fitted") for word in words]) == 0
        Path("file").touch()
    return folder


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_is_missing_is_made_and_a_file_in_its_place_is_told(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    words, left = COMMANDS[name]
    place = f"new {name}/-deeper/x"
    assert main([word.replace("PLACE", place) for word in words]) == 0, capsys.readouterr().err
    assert Path(left.replace("PLACE", place)).exists()
    capsys.readouterr()
    code = main([word.replace("PLACE", "file/deeper/x") for word in words])
    err = capsys.readouterr().err
    assert code == 2 and "file" in err and "mistake in weft" not in err, err


def test_every_command_that_writes_where_it_is_told_is_among_them() -> None:
    commands: dict[str, Any] = {verb: command for verb, (command, _) in _OWN.items()}
    commands |= {verb: resolve(paths[0]) for verb, paths in declared().items()}
    named = {
        (verb, parameter)
        for verb, command in commands.items()
        for parameter, kind in get_type_hints(inspect.unwrap(command)).items()
        if parameter in NAMES and kind in (Path, Path | None)
    }
    covered = {(verb, parameter) for verb, parameter in named if verb in COMMANDS} | {*INSIDE}
    assert named <= covered, named - covered
