"""`weft compress` and `weft decompress`: real files, decoded by a process that has no data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.families.gaussvae.codec.cosines import pictures
from weft import api
from weft.cli import main

pytest.importorskip("constriction", reason="the extra `splats` is not installed")

WORDS = (
    "gaussvae/cifar10", "data.dataset=own.npz", "latent_dim=6", "picture.components=12",
    "picture.splats=4", "picture.width=8", "picture.refine=0", "picture.shift=0", "monitor=psnr",
    "beta.max=1e-3", "batch_size=16", "steps=2", "eval.every=2 steps", "log.tensorboard=false",
    "render.form=gemm",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run `run`, its compressor, and `a.png` as `a.lat`; no data set."""
    folder = tmp_path_factory.mktemp("compress")
    before = Path.cwd()
    os.chdir(folder)
    try:
        images = pictures(64, (8, 8)).numpy()
        labels = np.arange(64) % 2
        parts = {f"{split}_images": images for split in ("train", "test")}
        np.savez("own.npz", train_labels=labels, test_labels=labels, **parts)
        assert api.train(*WORDS, report=False, **{"run.dir": "run"}) is not None
        picture = pictures(1, (13, 21), seed=5)[0].permute(1, 2, 0).numpy()
        Image.fromarray(picture).save("a.png")
        assert main(["compress", "a.png", "--model", "run"]) == 0
        Path("own.npz").unlink()
    finally:
        os.chdir(before)
    return folder


def shown(name: str) -> np.ndarray:
    """The bytes (H, W, 3) of a picture's file, as floats."""
    with Image.open(name) as image:
        return np.asarray(image, float)


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """That folder, entered."""
    monkeypatch.chdir(home)
    capsys.readouterr()
    return home


def test_a_fresh_process_without_data_decodes_the_same_bytes_on_any_threads(here: Path) -> None:
    assert main(["decompress", "a.lat", "--model", "run", "--out", "first.png"]) == 0
    assert shown("first.png").shape == (13, 21, 3)
    # The file of the model alone is enough, on more threads and in another process.
    words = ["decompress", "a.lat", "--model", "run/compressor.safetensors", "--out", "second.png"]
    code = f"import torch; torch.set_num_threads(3); from weft.cli import main; main({words!r})"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "WEFT_DATA": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert Path("first.png").read_bytes() == Path("second.png").read_bytes()


def test_bits_are_those_of_the_file_and_psnr_that_of_the_picture(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.npz").write_bytes(b"")  # A compressor's file needs no data to compress either.
    model = "run/compressor.safetensors"
    assert main(["compress", "a.png", "--model", model, "--out", "b.lat", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["bytes"] == Path("b.lat").stat().st_size and row["header"] == 29
    assert row["bits/pixel"] == 8 * row["bytes"] / (13 * 21)
    main(["decompress", "b.lat", "--model", model, "--out", "b.png"])
    error = np.square(shown("b.png") - shown("a.png")).mean()
    assert row["PSNR"] == pytest.approx(10 * np.log10(255**2 / error))
    # Nothing is drawn at random: the same picture is the same file.
    assert Path("a.lat").read_bytes() == Path("b.lat").read_bytes()


def test_many_pictures_go_to_a_folder_and_a_larger_step_makes_smaller_files(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", "run/compressor.safetensors"]
    Image.fromarray(np.tile(shown("a.png").astype(np.uint8), (4, 3, 1))).save("big.png")
    for step, folder in (("0.5", "fine"), ("8", "coarse")):
        words = ["compress", "a.png", "big.png", *model, "--out", folder, "--step", step]
        assert main([*words, "--refine", "0"]) == 0
    assert Path("fine/big.lat").stat().st_size > Path("coarse/big.lat").stat().st_size
    assert main(["decompress", "fine/a.lat", "coarse/big.lat", *model, "--out", "png"]) == 0
    assert sorted(path.name for path in Path("png").iterdir()) == ["a.png", "big.png"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["compress", "a.png", "--step", "2.3"], 2, "a multiple of 1/2"),
        (["compress", "none.png"], 2, "none.png cannot be read"),
        (["compress", "a.png", "a.png", "--out", "x.lat"], 2, "would be written to one"),
        (["decompress", "a.png"], 2, "expected a .lat file that `weft compress` wrote"),
        (["decompress", "none.lat"], 2, "none.lat cannot be read"),
        (["decompress", "cut.lat"], 2, "cut.lat cannot be read"),
        (["decompress", "other.lat"], 2, "compressed with another model"),
        (
            ["decompress", "a.lat", "--model", "run/model.safetensors"],
            2,
            "there is no compressor here",
        ),
        (["compress", "a.png", "nowhere.png", "--out", "new"], 2, "nowhere.png cannot be read"),
        (["decompress", "a.lat", "--model", "runn"], 2, "there is no such run"),
        (["decompress", "a.lat", "--model", "a.png"], 1, "cannot read the weights"),
    ],
)
def test_a_mistake_is_one_error_and_leaves_no_file(
    words: list[str], code: int, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = Path("a.lat").read_bytes()
    Path("cut.lat").write_bytes(content[:-1])
    if words[1] == "other.lat":
        from weft.families.gaussvae.codec import container

        header, payload = container.unpack(content, "")
        strange = container.Header(header.size, header.tile, header.latent_dim, 8, bytes(8))
        Path("other.lat").write_bytes(container.pack(strange, payload))
    before = sorted(Path().rglob("*"))
    model = [] if "--model" in words else ["--model", "run/compressor.safetensors"]
    assert main([*words, *model]) == code
    error = capsys.readouterr().err
    assert said in error and "mistake in weft" not in error
    assert sorted(Path().rglob("*")) == before


def test_a_compressor_that_was_tampered_with_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open("run/compressor.safetensors", "pt") as file:
        metadata = file.metadata()
    tensors = load_file("run/compressor.safetensors")
    for changes in (
        {"counts": torch.zeros_like(tensors["counts"])},
        {"unit": -tensors["unit"]},
        {"tile_size": torch.tensor([2**31, 2**31])},
        {"unit": tensors["unit"][1:]},
    ):
        save_file(tensors | changes, "bad.safetensors", metadata)
        assert main(["decompress", "a.lat", "--model", "bad.safetensors"]) == 1
        assert "the weights do not fit the config" in capsys.readouterr().err


def test_a_picture_is_not_replaced_by_what_is_left_of_it_unless_that_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("a.png").read_bytes()
    for more in ([], ["--out", "a.png"], ["--out", "."]):
        assert main(["decompress", "a.lat", "--model", "run", *more]) == 2
        assert "there is a picture already   (a.png)" in capsys.readouterr().err
    assert Path("a.png").read_bytes() == before
    Path("kept.png").write_bytes(b"of no picture")
    assert main(["decompress", "a.lat", "--model", "run", "--out", "kept.png", "--force"]) == 0
    assert shown("kept.png").shape == shown("a.png").shape


def test_pictures_of_any_form_come_back_in_their_size(here: Path) -> None:
    draws = np.random.default_rng(0)
    odd = {
        "one": Image.fromarray(draws.integers(0, 256, (1, 1, 3), np.uint8)),
        "thin": Image.fromarray(draws.integers(0, 256, (1, 90), np.uint8)),
        "alpha": Image.fromarray(draws.integers(0, 256, (9, 7, 4), np.uint8), "RGBA"),
        "deep": Image.fromarray(draws.integers(0, 65535, (7, 9), np.uint16)),
        "-bits": Image.new("1", (20, 11)),
        "a palette": Image.new("P", (8, 8)),
    }
    Path("odd").mkdir()
    for name, picture in odd.items():
        picture.save(f"odd/{name}.png")
    model = ["--model", "run/compressor.safetensors"]
    files = [f"odd/{name}.png" for name in odd]
    assert main(["compress", *files, *model, "--out", "new/coded", "--refine", "0"]) == 0
    coded = [f"new/coded/{name}.lat" for name in odd]
    assert main(["decompress", *coded, *model, "--out", "new/back"]) == 0
    for name, picture in odd.items():
        with Image.open(f"new/back/{name}.png") as back:
            assert (back.size, back.mode) == (picture.size, "RGB"), name


def test_a_run_without_a_compressor_says_which_command_makes_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run/compressor.safetensors").rename("kept")
    try:
        assert main(["decompress", "a.lat", "--model", "run"]) == 2
        assert "`weft compress IMG --model RUN` makes it" in capsys.readouterr().err
    finally:
        Path("kept").rename("run/compressor.safetensors")


def test_without_the_coder_both_say_what_to_install(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    for words in (["compress", "a.png"], ["decompress", "a.lat"]):
        assert main([*words, "--model", "run"]) == 1
        assert "pip install 'weft[splats]'" in capsys.readouterr().err
