"""A run of any family knows its data: found from any folder, and refused once they change."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.stops import die_at
from weft import api
from weft.cli import main
from weft.data.catalog.entry import File, Form
from weft.data.catalog.sets import SETS
from weft.data.used import checksum_of
from weft.errors import RunError
from weft.run.recorder import Followers
from weft.run.registry import open_run
from weft.run.resume import resume

SHORT = ("engine.device=cpu", "engine.threads=1", "log.tensorboard=false", "steps=3",
         "checkpoint.every=1 steps", "eval.every=3 steps")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Data of one kind.

    Attributes:
        words: recipe and options, with relative paths only.
        write: writes the data into a folder, others for another number.
        file: what is named when they change.
    """

    words: tuple[str, ...]
    write: Callable[[Path, int], None]
    file: str


def pictures(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {f"x_{split}": rng.integers(0, 256, (30, 8, 8), np.uint8)
              for split in ("train", "test")}  # fmt: skip
    np.savez(folder / "mine.npz", **arrays, y_train=np.arange(30) % 3, y_test=np.arange(30) % 3)


def sequences(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {f"X_{split}": rng.normal(size=(30, 8, 2)) for split in ("train", "test")}
    np.savez(folder / "mine.npz", **arrays)


def archived(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for half in ("TRAIN", "TEST"):
        rows = (",".join(f"{value:.4f}" for value in rng.normal(size=9)) for _ in range(12))
        lines = "\n".join(f"{row}:{'ab'[i % 2]}" for i, row in enumerate(rows))
        (folder / f"Own_{half}.ts").write_text(f"@classLabel true a b\n@data\n{lines}\n")


def text(folder: Path, seed: int) -> None:
    words = np.random.default_rng(seed).integers(0, 99, (40, 12))
    (folder / "mine.txt").write_text("\n\n".join(" ".join(map(str, row)) for row in words))


def splats(folder: Path, seed: int) -> None:
    (folder / "mine").mkdir(exist_ok=True)
    for number in range(12):
        rows = np.random.default_rng([seed, number]).random((16, 8), dtype=np.float32)
        np.savez(folder / "mine" / f"{number:02d}.npz", gaussians=rows)


def backgrounds(folder: Path, seed: int) -> None:
    """Another form of the set that the catalogue calls cifar10 here."""
    for old in folder.glob("form*.npz"):
        old.unlink()
    (folder / f"form{seed}.npz").write_bytes(_form(seed))


def _form(seed: int) -> bytes:
    images = np.random.default_rng(seed).integers(0, 256, (6, 3, 32, 32), np.uint8)
    stream, labels = io.BytesIO(), np.zeros(6, np.int64)
    np.savez(stream, train_images=images, train_labels=labels, test_images=images,
             test_labels=labels)  # fmt: skip
    return stream.getvalue()


WARP = ("warp/digits", "mlp_hidden_size=8", "batch_size=4", "grounding_length=3")
CASES = {
    "cet": Case(("cet/digits", "hidden_dim=8", "batch_size=8", "delay=2",
                 "data.dataset=mine.npz"), pictures, "mine.npz"),
    "warp pictures": Case((*WARP, "data.dataset=mine.npz",
                           "data.image_datasets=[mine.npz]"), pictures, "mine.npz"),
    "warp sequences": Case(("warp/msd", "batch_size=4", "grounding_length=3",
                            "data.dataset=mine.npz"), sequences, "mine.npz"),
    "warp archive": Case(("warp/basic-motions", "batch_size=4", "data.root=.",
                          "data.subset=Own"), archived, "Own_TRAIN.ts"),
    "feedback": Case(("feedback/text", "model.n_layer=1", "model.n_embd=8", "model.n_head=1",
                      "data.block_size=32", "data.dataset=mine.txt", "eval.chunks=4"),
                     text, "mine.txt"),
    "gaussvae": Case(("gaussvae/demo", "batch_size=4", "latent_dim=4", "data.dataset=mine",
                      "data.size=[8,8]", "eval.pictures=2"), splats, "mine/00.npz"),
    "jepa": Case(("jepa/clean", "batch_size=4", "dataset_size=12", "val_dataset_size=4",
                  "norm_batches=1", "n_steps=3", "val_n_steps=3", "probe.size=8",
                  "probe.batch_size=4", "dataset_structured_noise=true", "dataset_noise=0.5",
                  "data.root=."),
                 backgrounds, "form1.npz"),
}  # fmt: skip


@pytest.fixture
def small_cifar10(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    """A set of twelve pictures in place of cifar10, in two forms that differ."""
    monkeypatch.setenv("WEFT_CACHE", str(workspace / "cache"))
    forms = []
    for seed in (0, 1):
        path = workspace / "made.npz"
        path.write_bytes(_form(seed))
        file = File(f"form{seed}.npz", path.stat().st_size, checksum_of(path))
        path.unlink()
        forms.append(Form("small", "npz", {"train": (file,), "test": (file,)}))
    known = replace(SETS["cifar10"], sizes={"train": 6, "test": 6}, forms=tuple(forms))
    monkeypatch.setitem(SETS, "cifar10", known)


@pytest.mark.parametrize("name", CASES)
def test_data_are_found_from_any_folder_and_refused_once_they_changed(
    name: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, small_cifar10: None
) -> None:
    case = CASES[name]
    here, run = workspace / "here", workspace / "run"
    here.mkdir()
    monkeypatch.chdir(here)
    case.write(here, 0)
    die_at(monkeypatch, 2)
    with pytest.raises(RuntimeError, match="killed"):
        api.train(*case.words, *SHORT, f"run.dir={run}", report=False)

    elsewhere = workspace / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert api.evaluate(run)

    case.write(here, 1)
    with pytest.raises(RunError, match=case.file) as refused:
        resume(run, {}, Followers(False))
    assert "--accept-changes data" in refused.value.hint
    with pytest.raises(RunError, match=case.file):
        open_run(run).load().metrics()

    with pytest.warns(UserWarning, match="accepted"):
        assert open_run(run).load(accept={"data"}).metrics()
    assert resume(run, {}, Followers(False), accept={"data"}) is not None
    assert open_run(run).state == "finished"


def test_changed_data_are_refused_by_the_command_line_until_it_accepts_them(
    workspace: Path,
    without_pictures: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = CASES["cet"]
    case.write(workspace, 0)
    die_at(monkeypatch, 2)
    assert main(["train", *case.words, *SHORT, "run.dir=run", "--quiet"]) == 1
    case.write(workspace, 1)
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    capsys.readouterr()
    for verb in (["resume", "run", "--quiet"], ["evaluate", "run"], ["sample", "run"]):
        assert main(verb) == 2
        said = capsys.readouterr().err
        assert "mine.npz has changed" in said and "--accept-changes data" in said
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    assert main(["evaluate", "run", "--accept-changes", "data"]) == 0
    assert capsys.readouterr().err.startswith("accepted: ")
    assert main(["resume", "run", "--quiet", "--accept-changes", "data"]) == 0
    assert open_run("run").state == "finished"


def test_the_same_data_in_another_folder_are_the_same(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tuple(word for word in CASES["warp archive"].words if word != "data.root=.")
    for name in ("one", "two"):
        (workspace / name).mkdir()
        archived(workspace / name, 0)
    monkeypatch.setenv("WEFT_DATA", str(workspace / "one"))
    run = workspace / "run"
    assert api.train(*words, *SHORT, f"run.dir={run}", report=False) is not None
    monkeypatch.setenv("WEFT_DATA", str(workspace / "two"))
    assert api.evaluate(run)
    archived(workspace / "two", 1)
    with pytest.raises(RunError, match=r"two/Own_TRAIN\.ts was not among the data"):
        api.evaluate(run)
