"""`weft data fit` and `weft data convert`: a folder's fit goes on exactly, and is told of."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from weft.cli import main
from weft.families.gaussvae import fit, render
from weft.families.gaussvae.splats import job
from weft.families.gaussvae.splats.files import read_npz, read_pt
from weft.families.gaussvae.splats.packed import read_packed


def _pictures(folder: Path, sizes: list[tuple[int, int]]) -> torch.Tensor:
    """Smooth pictures p0, p1, ..., and the pixels of those that are as large as the first."""
    folder.mkdir()
    generator, kept = torch.Generator().manual_seed(0), []
    for number, size in enumerate(sizes):
        coarse = torch.rand(1, 3, 4, 4, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
        pixels = (smooth[0] * 255).round().byte()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"p{number}.png")
        if size == sizes[0]:
            kept.append(pixels)
    return torch.stack(kept)


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open() as file:
        return list(csv.DictReader(file))


def _fit(*words: Any) -> int:
    return main(["data", "fit", *map(str, words)])


def test_a_folder_becomes_packed_splats_a_table_and_pictures(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = _pictures(Path("in"), [(12, 16)] * 3)
    assert _fit("in", "--out", "out", "--splats", 12, "--steps", 4, "--keep-images") == 0
    told = capsys.readouterr().out
    found, wanted = read_packed(Path("out")), fit(images, 12, steps=4)
    assert np.array_equal(found.splats, wanted.splats.numpy())
    assert np.array_equal(found.images, images.numpy())
    assert found.names == ("p0", "p1", "p2") and found.cells == (3, 4)
    assert found.psnr == tuple(wanted.psnr.tolist())
    assert [float(row["psnr"]) for row in _rows(Path("out"))] == wanted.psnr.tolist()
    assert "mean of 3" in told and f"{wanted.psnr.mean():.2f}" in told
    with Image.open("out/pictures/p1.png") as drawn:
        assert drawn.size == (2 * 16 * 16, 12 * 16)
    assert not Path("out/parts").exists()


def test_the_same_words_again_do_nothing_and_others_are_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _pictures(Path("in"), [(12, 16)])
    words = ("in", "--out", "out", "--splats", 12, "--steps", 2)
    assert _fit(*words) == 0
    before = Path("out/splats.npy").stat().st_mtime_ns
    assert _fit(*words) == 0
    assert "has this fit already" in capsys.readouterr().err
    assert Path("out/splats.npy").stat().st_mtime_ns == before
    table = Path("out/table.csv").read_text()
    for damage in ("", table[: len(table) // 2], table + table, "name\np0\n"):
        Path("out/table.csv").write_text(damage)
        assert _fit(*words) == 2
        said = capsys.readouterr().err
        assert "table.csv cannot be read" in said and "--force fits again" in said
    Path("out/table.csv").write_text(table)
    assert _fit(*words[:-1], 3) == 2
    assert "holds another fit: it differs in steps" in capsys.readouterr().err
    assert _fit(*words[:-1], 3, "--force") == 0
    assert Path("out/splats.npy").stat().st_mtime_ns > before
    _pictures(Path("other"), [(12, 16)] * 2)
    assert _fit("other", *words[1:-1], 3) == 2
    assert "differs in pictures" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["npz", "pt"])
@pytest.mark.parametrize("mode", ["grid", "imagegs"])
def test_files_of_the_original_s_layout_show_the_same_picture(
    workspace: Path, form: str, mode: str
) -> None:
    images = _pictures(Path("in"), [(12, 16)])
    options = ("--mode", mode, "--splats", 12, "--steps", 50, "--form", form)
    assert _fit("in", "--out", "out", *options, "--quiet") == 0
    file = (read_npz if form == "npz" else read_pt)(Path(f"out/p0.{form}"))
    splats = torch.from_numpy(file.splats)[None]
    shown = render(splats, 12, 16, layout="rs", sampling="corner").clamp(0, 1)
    error = (shown - images / 255).square().mean().item()
    assert -10 * np.log10(error) == pytest.approx(file.scores["psnr"], abs=0.01)


def test_pictures_of_unlike_sizes_are_fitted_and_kept_in_order(workspace: Path) -> None:
    _pictures(Path("in"), [(12, 16), (16, 12), (12, 16)])
    assert _fit("in", "--out", "out", "--splats", 12, "--steps", 2, "--quiet") == 0
    found = read_packed(Path("out"))
    assert found.sizes == ((12, 16), (16, 12), (12, 16)) and found.cells is None


def test_the_number_of_splats_is_searched_for(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _pictures(Path("in"), [(12, 16)] * 2)
    assert _fit("in", "--out", "out", "--psnr", 22, "--steps", 6, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    for row in told["pictures"]:
        assert row["psnr"] >= 22
        assert len(read_npz(Path(f"out/{row['name']}.npz")).splats) == row["splats"]


def test_bits_choose_the_number_of_splats_and_round_them(workspace: Path) -> None:
    _pictures(Path("in"), [(12, 12)])
    words = ("in", "--out", "out", "--steps", 2, "--quiet", "--quantise", "8,8,8,4")
    assert _fit(*words, "--bits", 9 * (4 * 8 + 8 + 3 * 4)) == 0
    splats = read_packed(Path("out")).splats[0]
    assert len(splats) == 9 and len(np.unique(splats[:, 5:])) <= 16


def test_squares_are_cut_out_first(workspace: Path) -> None:
    _pictures(Path("in"), [(12, 16)])
    words = ("in", "--out", "out", "--splats", 4, "--steps", 1, "--crops", 6, "--quiet")
    assert _fit(*words) == 0
    assert read_packed(Path("out")).sizes == ((6, 6),) * 4


def test_a_dry_run_does_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _pictures(Path("in"), [(12, 16)])
    assert _fit("in", "--out", "out", "--splats", 12, "--dry-run") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pictures"], told["sizes"], told["splats"]) == (1, ["12x16"], 12)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("none", "--out", "out"),
        ("in", "--out", "out", "--splats", 13),
        ("in", "--out", "out", "--mode", "best"),
        ("in", "--out", "out", "--form", "zip"),
        ("in", "--out", "out", "--psnr", 30, "--bits", 900),
        ("in", "--out", "out", "--psnr", 30, "--form", "packed"),
        ("in", "--out", "out", "--bits", 3),
        ("in", "--out", "out", "--quantise", "8,8,8"),
        ("in", "--out", "out", "--quantise", "3,8,8,8"),
        ("in", "--out", "out", "--device", "abacus"),
        ("in", "--out", "out", "--crops", 99),
        ("in", "--out", "out", "--mode", "imagegs", "--splats", 999),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is(
    workspace: Path, words: tuple[object, ...]
) -> None:
    _pictures(Path("in"), [(12, 16)])
    assert _fit(*words) == 2
    assert not Path("out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [("grid", 3000), ("imagegs", 60)])
def test_a_killed_fit_goes_on_to_the_same_bytes(workspace: Path, how: tuple[str, int]) -> None:
    _pictures(Path("in"), [(12, 16), (16, 12), (12, 16)])
    mode, steps = how
    words = ("in", "--splats", "12", "--steps", str(steps), "--mode", mode, "--quiet")
    assert _fit(*words, "--out", "whole") == 0
    # Every state is saved, so that the kill is in the middle of a group's steps.
    script = (
        "from weft.families.gaussvae.splats import job; job._SAVE_SECONDS = 0; "
        "job._WORD_SECONDS = 0.01; from weft.cli import main; import sys; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, "data", "fit", *words, "--out", "cut"]
    process = subprocess.Popen(command, env=os.environ)
    states = Path("cut/parts")
    while process.poll() is None and not list(states.glob("*.state")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("cut/table.csv").exists()
    assert _fit(*words, "--out", "cut") == 0
    assert Path("cut/splats.npy").read_bytes() == Path("whole/splats.npy").read_bytes()


def test_a_group_that_is_done_is_not_done_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _pictures(Path("in"), [(12, 16)] * 3)
    monkeypatch.setattr(job, "_GROUP_PIXELS", 1)
    monkeypatch.setattr(job, "_GROUP_LEAST", 1)
    begun, real = [], job.begin

    def begin(pictures: torch.Tensor, how: Any) -> Any:
        begun.append(len(pictures))
        if len(begun) == 3:
            raise KeyboardInterrupt
        return real(pictures, how)

    monkeypatch.setattr(job, "begin", begin)
    words = ("in", "--out", "out", "--splats", 12, "--steps", 4, "--quiet")
    assert _fit(*words) == 130
    assert len(list(Path("out/parts").glob("*.npz"))) == 2
    assert _fit(*words) == 0
    assert begun == [1] * 4
    wanted = fit(images, 12, steps=4).splats
    assert np.array_equal(read_packed(Path("out")).splats, wanted.numpy())


def test_converting_there_and_back_is_told_and_failures_end_with_2(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _pictures(Path("in"), [(12, 16)] * 2)
    _fit("in", "--out", "out", "--splats", 12, "--steps", 2, "--form", "pt", "--quiet")
    assert main(["data", "convert", "out", "--out", "npz", "--to", "npz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["converted"] == 2
    assert main(["data", "convert", "npz", "--out", "pt", "--to", "pt", "--quiet"]) == 0
    assert Path("pt/p0.pt").read_bytes() == Path("out/p0.pt").read_bytes()
    Path("npz/p0.npz").write_bytes(b"PK")
    again = ["data", "convert", "npz", "--out", "pt", "--to", "pt", "--force", "--quiet"]
    assert main(again) == 2
    assert "p0.npz cannot be converted" in capsys.readouterr().err
    assert main(["data", "convert", "npz", "--out", "new", "--to", "pt", "--dry-run"]) == 0
    assert "2 of 2 files" in capsys.readouterr().out and not Path("new").exists()
    assert main(["data", "convert", "in", "--out", "new", "--to", "pt"]) == 2


def _drawn(path: str) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).double()


@pytest.mark.parametrize("form", ["packed", "npz", "pt"])
def test_splats_are_drawn_without_the_pictures_and_larger_ones_agree_when_reduced(
    workspace: Path, form: str
) -> None:
    images = _pictures(Path("in"), [(32, 48)])
    words = ("--splats", 24, "--steps", 60, "--form", form, "--quiet", "--pictures", 0)
    assert _fit("in", "--out", "out", *words) == 0
    shutil.rmtree("in")
    draw = ["data", "draw", "out", "--quiet"]
    assert main([*draw, "--out", "once"]) == 0
    assert main([*draw, "--out", "twice", "--height", "64"]) == 0
    once, twice = _drawn("once/p0.png"), _drawn("twice/p0.png")
    reduced = torch.nn.functional.avg_pool2d(twice[None], 2)[0]
    error = ((reduced - once) / 255).square().mean().item()
    assert -10 * np.log10(error) > 35
    [row] = _rows(Path("out"))
    error = ((once - images[0]) / 255).square().mean().item()
    assert -10 * np.log10(error) == pytest.approx(float(row["psnr"]), abs=0.1)


def test_files_that_say_no_size_need_one(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _pictures(Path("in"), [(12, 16)])
    words = ("in", "--out", "out", "--splats", 12, "--steps", 2, "--form", "npz", "--quiet")
    assert _fit(*words) == 0
    assert main(["data", "draw", "out", "--out", "png", "--quiet"]) == 0
    shutil.rmtree("png")
    Path("out/sizes.json").write_text('{"layout": "rs", "sampling": "centre", "sizes": {}}')
    assert main(["data", "draw", "out", "--out", "png"]) == 2
    Path("out/sizes.json").unlink()
    assert main(["data", "draw", "out", "--out", "png"]) == 2
    assert "--size" in capsys.readouterr().err
    for size in ("12", "x16", "0x16", "12x"):
        assert main(["data", "draw", "out", "--out", "png", "--size", size]) == 2
    assert main(["data", "draw", "in", "--out", "png", "--size", "12x16"]) == 2
    assert not Path("png").exists()
