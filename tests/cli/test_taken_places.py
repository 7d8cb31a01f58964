"""A place that holds something else is a mistake in the request, and stays as it is."""

from pathlib import Path

import pytest

from weft.cli import main

WAYS = {
    "train": ("train", "cet/digits", "steps=1", "run.dir={}"),
    "dry run": ("train", "cet/digits", "run.dir={}", "--dry-run"),
    "sweep": ("sweep", "cet/digits", "steps=1", "seed=0,1", "--dir", "{}"),
    "search": ("sweep", "warp/digits", "optim.lr=log:1e-4:1e-1", "--search", "random",
               "--trials", "1", "--dir", "{}"),
    "rates": ("study", "rates", "cet/digits", "steps=1", "data.use_val=true", "--rates", "1e-3",
              "--dir", "{}"),
    "controls": ("study", "controls", "feedback/rules", "--dir", "{}"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("way", WAYS)
def test_a_taken_place_is_refused_as_a_mistake_and_left_alone(
    way: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "taken"
    note = place if kind == "file" else place / "note.txt"
    note.parent.mkdir(exist_ok=True)
    note.write_text("mine")
    assert main([word.format(place) for word in WAYS[way]]) == 2
    assert str(place) in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [note]
    assert note.read_text() == "mine"
