"""encode, decode and convert by the flags of the originals, from pictures to pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weft.families.gaussvae.splats.files import read_npz, read_pt
from weft.papers.gaussvae.splat_files import decode, encode, npz2pt, pt2npz


@pytest.fixture
def pictures(workspace: Path) -> Path:
    """Two of one size and one of another."""
    Path("in").mkdir()
    ramp = np.linspace(0, 255, 12 * 16 * 3).astype(np.uint8)
    for name, shape in (("a", (12, 16, 3)), ("b", (16, 12, 3)), ("c", (12, 16, 3))):
        Image.fromarray(ramp.reshape(shape)).save(f"in/{name}.png")
    return workspace


ENCODE = ["--input", "in", "--output", "pt", "--num_gaussians", "8", "--max_steps", "12"]


def test_pictures_come_back_by_way_of_both_kinds_of_file(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode([*ENCODE, "--eval", "--quantize", "--log", "log/encode.jsonl"]) == 0
    assert capsys.readouterr().out.count("PSNR") == 3
    lines = [json.loads(line) for line in Path("log/encode.jsonl").read_text().splitlines()]
    assert {line["name"] for line in lines} == {"a", "b", "c"}
    for path in sorted(Path("in").iterdir()):
        assert read_pt(Path(f"pt/{path.stem}.pt")).splats.shape == (8, 8)
        with Image.open(path) as source, Image.open(f"pt/original/{path.name}") as kept:
            assert np.array_equal(np.asarray(source), np.asarray(kept))
    assert pt2npz(["--input", "pt", "--output", "npz", "--quiet"]) == 0
    assert npz2pt(["--input", "npz", "--output", "back", "--quiet"]) == 0
    for path in Path("pt").glob("*.pt"):
        assert path.read_bytes() == Path("back", path.name).read_bytes()
    # How large the pictures were goes from file to file.
    assert decode(["--input", "back", "--output", "again", "--quiet"]) == 0
    assert decode(["--input", "pt", "--output", "png", "--quiet"]) == 0
    for path in Path("png").iterdir():
        assert path.read_bytes() == Path("again", path.name).read_bytes()
        with Image.open(path) as found, Image.open(f"pt/rendered/{path.name}") as wanted:
            off = np.abs(np.asarray(found, int) - np.asarray(wanted, int))
            assert off.max() <= 1


def test_flags_of_decoding_change_what_is_drawn(pictures: Path) -> None:
    assert encode([*ENCODE, "--quiet"]) == 0
    one = ["--input", "pt/a.pt", "--quiet"]
    assert decode([*one, "--output", "tall", "--render_height", "24"]) == 0
    with Image.open("tall/a.png") as tall:
        assert tall.size == (32, 24)
    assert decode([*one, "--output", "few", "--num_gaussians", "1", "--quantize"]) == 0
    Path("pt/sizes.json").unlink()
    assert decode([*one, "--output", "none"]) == 2
    assert decode([*one, "--output", "sized", "--size", "12x16"]) == 0
    with Image.open("few/a.png") as few, Image.open("sized/a.png") as whole:
        assert few.size == whole.size == (16, 12)
        assert not np.array_equal(np.asarray(few), np.asarray(whole))


def test_finished_files_are_skipped_unless_forced_and_a_dry_run_only_tells(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode([*ENCODE, "--dry_run"]) == 0
    assert capsys.readouterr().out.splitlines() == ["3 of 3 files to do", "a", "b", "c"]
    assert not Path("pt").exists()
    assert encode([*ENCODE, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    Path("pt/b.pt").unlink()
    assert encode(ENCODE) == 0
    assert capsys.readouterr().out.split()[0] == "b"
    assert encode([*ENCODE, "--force"]) == 0
    assert capsys.readouterr().out.count("PSNR") == 3


def test_switches_of_conversion_reach_the_files(pictures: Path) -> None:
    import torch

    encode([*ENCODE, "--quiet"])
    words = ["--input", "pt", "--output", "npz", "--no_validate", "--batch_size", "1", "--quiet"]
    assert pt2npz([*words, "--log", "log.jsonl"]) == 0
    lines = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [line["validation_passed"] for line in lines] == [None] * 3
    assert npz2pt(["--input", "npz", "--output", "lean", "--no_vis_feat", "--quiet"]) == 0
    assert "vis_feat" not in torch.load("lean/a.pt", weights_only=True)["state_dict"]
    assert read_npz(Path("npz/a.npz")).scores == read_pt(Path("pt/a.pt")).scores
    Path("npz/a.npz").write_bytes(b"PK")
    assert npz2pt(["--input", "npz", "--output", "bad", "--quiet"]) == 2


@pytest.mark.parametrize("words", [["--num_gaussians", "0"], ["--max_steps", "x"], ["--fast"]])
def test_flags_that_make_no_sense_are_a_usage_error(pictures: Path, words: list[str]) -> None:
    assert encode([*ENCODE, *words]) == 2
    assert not Path("pt").exists()
