"""`weft study gaussvae-rd`: curves of a run and of known codes on tiles of pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_gaussvae_compress import WORDS
from tests.unit.families.gaussvae.codec.cosines import pictures
from weft import api
from weft.cli import main
from weft.families.gaussvae.baselines import raw_splats
from weft.families.gaussvae.score.bd_rate import Curve
from weft.studies import gaussvae_rd

pytest.importorskip("constriction", reason="the extra `splats` is not installed")


def test_a_run_is_measured_by_the_files_it_makes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEFT_CACHE", str(workspace / "cache"))
    # Fits have tests of their own, and take longer than all else.
    splats = Curve(np.array([50.0, 90.0]), np.array([12.0, 15.0]), np.full(2, 232.0))
    monkeypatch.setattr(raw_splats, "raw_splats", lambda train, images: splats)
    images, labels = pictures(64, (8, 8)).numpy(), np.arange(64) % 2
    parts = {f"{split}_images": images for split in ("train", "test")}
    np.savez("own.npz", train_labels=labels, test_labels=labels, **parts)
    assert api.train(*WORDS, report=False, **{"run.dir": "run"}) is not None
    Path("shown").mkdir()
    tiles = pictures(4, (8, 8), seed=3).permute(0, 2, 3, 1).numpy()
    for number, tile in enumerate(tiles):
        Image.fromarray(tile).save(f"shown/{number}.png")
    words = ["--data", "shown", "--items", "4", "--refine", "2", "--out", "found"]
    assert main(["study", "gaussvae-rd", "run", *words]) == 0
    out = capsys.readouterr().out
    assert "BD-rate, percent" in out and "found/shown.json" in out
    numbers = json.loads(Path("found/shown.json").read_text())
    assert set(numbers["curves"]) == {"run", "PCA of pixels", "JPEG", "WebP", "raw splats"}
    assert Path("found/shown.png").stat().st_size > 10_000
    # The third point of the run is that of the step which is usual.
    files = [f"shown/{number}.png" for number in range(4)]
    assert main(["compress", *files, "--model", "run", "--refine", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    curve = numbers["curves"]["run"]
    sizes = [8 * (row["bytes"] - row["header"]) for row in rows]
    assert curve["bits"][2] == np.mean(sizes) and curve["header"][2] == 8 * 29
    assert curve["psnr"][2] == pytest.approx(np.mean([row["PSNR"] for row in rows]))
    # Larger pictures are cut into tiles.
    Image.fromarray(np.tile(tiles[0], (3, 2, 1))).save("large.png")
    assert main(["study", "gaussvae-rd", "run", "--data", "large.png", *words[2:]]) == 0
    assert "4 pictures of large.png, 8 x 8" in capsys.readouterr().out


def test_what_is_no_run_of_pictures_or_too_few_items_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "gaussvae-rd", "none"]) == 2
    assert "there is no such run" in capsys.readouterr().err
    assert main(["study", "gaussvae-rd", "none", "--items", "1"]) == 2


def test_a_place_that_cannot_be_is_told_before_the_work(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def worked(*words: object) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr(gaussvae_rd, "curves", worked)
    Path("file").touch()
    Path("taken/kodak.json").mkdir(parents=True)
    for out, where in (("file/x", "file/x/kodak.png"), ("taken", "taken/kodak.json")):
        assert main(["study", "gaussvae-rd", "run", "--data", "kodak", "--out", out]) == 2
        assert f"({where})" in capsys.readouterr().err
