"""However a file is damaged, its reader gives one error of weft's, and soon."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from weft.config.yaml import read_file
from weft.data.albums import Picture
from weft.data.content import read_text
from weft.data.formats import npz_splits, read_cifar_parquet, read_idx, read_npz
from weft.data.npz import open_npz
from weft.data.pictures import Decoder
from weft.data.series import read_ts
from weft.data.table import read_ett
from weft.engine.checkpoint import read as read_checkpoint
from weft.errors import WeftError
from weft.families.feedback.sets.corpus import objects, paragraphs
from weft.families.gaussvae.splats.files import SplatFile, read_pt, read_sizes, write_pt
from weft.families.gaussvae.splats.files import read_npz as read_splats
from weft.families.gaussvae.splats.outcome import read_table, write_table
from weft.families.gaussvae.splats.packed import Packed, read_packed, write_packed
from weft.families.gaussvae.splats.statistics import read_statistics
from weft.papers.feedback.exchange import read as read_original
from weft.run.export import exported_config, exported_weights
from weft.run.files import read_record, read_rows
from weft.run.registry import open_run
from weft.studies.rates.rows import read as read_rates
from weft.studies.rates.table import NEEDED, told
from weft.sweeps.grid import read_plan
from weft.sweeps.search import Plan, distributions, open_plan, study_of

LONGEST = 2.0
"""Seconds of CPU that a reader may take to say no."""

_random = np.random.default_rng(0)
_images = _random.integers(0, 256, (6, 8, 8), np.uint8)
_labels = np.arange(6) % 2


def _npz(save: Callable[..., None], **arrays: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def _idx() -> bytes:
    return b"\0\0\x08\x03" + np.array(_images.shape, ">u4").tobytes() + _images.tobytes()


def _picture(kind: str, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(_random.integers(0, 256, (32, 32, 3), np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(stream, kind, **({"exif": exif} if kind == "JPEG" else {}))
    return stream.getvalue()


def _parquet() -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    import pyarrow.parquet as parquet

    stream = io.BytesIO()
    rows = [{"bytes": _picture("PNG"), "path": ""} for _ in range(2)]
    parquet.write_table(pyarrow.table({"img": rows, "label": [0, 1]}), stream)
    return stream.getvalue()


def _table() -> bytes:
    dates = np.datetime64("2016-07-01T00:00") + np.arange(30).astype("m8[h]")
    lines = ["date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT", *(f"{d},1,2,3,4,5,6,7" for d in dates)]
    return "\n".join(lines).encode()


def _tensors() -> bytes:
    from safetensors.torch import save

    config = json.dumps({"family": "cet"})
    return save({"a": torch.arange(6.0), "b": torch.ones(2, 2)}, {"weft": config, "c": "a"})


def _checkpoint() -> bytes:
    stream = io.BytesIO()
    state = {"format": 1, "model": {"w": torch.ones(4)}, "progress": {"best_step": None}}
    torch.save(state, stream)
    return stream.getvalue()


_splats = _random.random((2, 5, 8), np.float32)


def _table_of_a_fit(folder: Path) -> None:
    row = {"height": 6, "width": 8, "splats": 5, "psnr": 30.5, "ssim": 0.9, "seconds": 0.1}
    write_table(folder, [{"name": name, **row} for name in ("a", "b")])


def _read_table(path: Path) -> None:
    read_table(path.parent, [Picture(name, (6, 8), "", lambda: _images[0]) for name in ("a", "b")])


def _original() -> bytes:
    """A checkpoint as feedback's original code saves it."""
    stream = io.BytesIO()
    moments = {
        0: {"step": torch.tensor(2.0), "exp_avg": torch.ones(4), "exp_avg_sq": torch.ones(4)}
    }
    torch.save(
        {"step": 2, "model_state_dict": {"w": torch.ones(4)}, "loss": 1.0, "val_loss": 1.5,
         "optimizer_state_dict": {"state": moments, "param_groups": []}, "best_val_loss": 1.5},
        stream,
    )  # fmt: skip
    return stream.getvalue()


_SEARCH = Plan(("cet/digits", "delay=1,3"), "random", 2, False, "test/loss", "lower")


def _journal() -> bytes:
    pytest.importorskip("optuna", reason="the extra `sweep` is not installed")

    def write(folder: Path) -> None:
        study = study_of(folder, _SEARCH)
        for value in (0.5, 0.25):
            study.tell(study.ask(distributions(_SEARCH.space)).number, value)

    return _written(write, "search.journal")


def _read_journal(path: Path) -> None:
    study_of(path.parent, _SEARCH).get_trials()


def _written(write: Callable[[Path], object], name: str) -> bytes:
    """What `write` puts into a folder as `name`."""
    with TemporaryDirectory() as folder:
        write(Path(folder))
        return Path(folder, name).read_bytes()


def _packed(folder: Path) -> None:
    write_packed(folder, Packed(_splats, ("a", "b"), ((6, 8),) * 2))


def _read_packed(path: Path) -> None:
    """With the other of the two files as it should be."""
    content = path.read_bytes()
    _packed(path.parent)
    path.write_bytes(content)
    read_packed(path.parent)


_TS = b"""# made here
@problemName Tiny
@timeStamps false
@dimensions 2
@classLabel true a b
@data
1,2,3:-1,-2,-3:b
5e-1:7:a
"""
_CONFIG = b"""# cet
family: cet
seed: 0
run: {dir: null}
steps: 3
optim: {kind: sgd, lr: 1e-3}
list: [1, "two", null]
"""
_ROWS = b'{"step": 1, "loss": 0.5}\n{"step": 2, "loss": null}\n'
_STATUS = json.dumps(
    {
        "state": "finished", "family": "cet", "name": "a", "recipe": "cet/digits", "step": 3,
        "total_steps": 3, "started": "2026-01-01T00:00:00Z", "seconds": 1.5,
        "metrics": {"val/accuracy": 0.5}, "best": None, "saved": 3, "message": "",
        "declared": [
            {"name": "accuracy", "better": "higher", "unit": "", "about": "share of right answers"}
        ],
    }
).encode()  # fmt: skip
_PLAN = b"""# The plan of a sweep; `weft sweep` with the same words continues it.
words: [cet/digits, 'delay=1,3', seed=0..1]
axes:
  delay: ['1', '3']
  seed: ['0', '1']
checksums: {}
"""
_PARENT = b"""total_steps: 3
batches_per_epoch: 1
parameters: 5
parents: {init: {file: /a/b, sha256: abc}}
"""


def _read_npz(path: Path) -> None:
    for split in npz_splits(path):
        read_npz([path], split)
    with open_npz(path) as archive:
        archive.arrays("biufU")


def _read_idx(path: Path) -> None:
    read_idx([path, path], "train")


def _read_checkpoint(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    read_checkpoint(path)


def _read_run(path: Path) -> None:
    from weft.cli.listing import run_values

    sound = {
        "status.json": _STATUS, "env.json": b"{}", "config.yaml": _CONFIG,
        "resolved.yaml": _PARENT, "metrics.jsonl": _ROWS,
    }  # fmt: skip
    for name, content in sound.items():
        if name != path.name:
            (path.parent / name).write_bytes(content)
    run = open_run(path.parent)
    json.dumps(run_values(run))
    run.history()


def _read_weights(path: Path) -> None:
    exported_config(path)
    exported_weights(path)


FILES: dict[str, tuple[Callable[[], bytes], Callable[[Path], object]]] = {
    "plain.npz": (
        lambda: _npz(np.savez, train_images=_images, train_labels=_labels), _read_npz,
    ),
    "packed.npz": (
        lambda: _npz(np.savez_compressed, x_train=_images, y_train=_labels, X=np.ones((2, 3))),
        _read_npz,
    ),
    "images": (_idx, _read_idx),
    "images.gz": (lambda: gzip.compress(_idx(), mtime=0), _read_idx),
    "pictures.parquet": (_parquet, lambda path: read_cifar_parquet([path], "train")),
    "Tiny.ts": (lambda: _TS, read_ts),
    "ETTx.csv": (_table, read_ett),
    "ETTx.csv.gz": (lambda: gzip.compress(_table(), mtime=0), read_ett),
    "a.txt": (lambda: "é one\n\ntwo\n".encode() * 5, lambda p: paragraphs(read_text(p), p)),
    "a.jsonl": (lambda: b'{"text": "one"}\n' * 5, lambda p: objects(read_text(p), p)),
    "a.png": (lambda: _picture("PNG"), Decoder()),
    "palette.png": (lambda: _picture("PNG", "P"), Decoder()),
    "a.jpg": (lambda: _picture("JPEG"), Decoder()),
    "cmyk.jpg": (lambda: _picture("JPEG", "CMYK"), Decoder()),
    "a.tif": (lambda: _picture("TIFF"), Decoder()),
    "float.tif": (lambda: _picture("TIFF", "F"), Decoder()),
    "a.gif": (lambda: _picture("GIF"), Decoder()),
    "a.webp": (lambda: _picture("WEBP"), Decoder()),
    "my.yaml": (lambda: _CONFIG, read_file),
    "env.json": (lambda: b'{"torch": "2", "git": null}',
                 lambda path: read_record(path.parent, path.name)),
    "rows.jsonl": (lambda: _ROWS, read_rows),
    "status.json": (lambda: _STATUS, _read_run),
    "config.yaml": (lambda: _CONFIG, _read_run),
    "resolved.yaml": (lambda: _PARENT, _read_run),
    "metrics.jsonl": (lambda: _ROWS, _read_run),
    "sweep.yaml": (lambda: _PLAN, lambda path: read_plan(path.parent)),
    "model.safetensors": (_tensors, _read_weights),
    "step_00000001.pt": (_checkpoint, _read_checkpoint),
    "splats.pt": (
        lambda: _written(lambda at: write_pt(at / "a.pt", SplatFile(_splats[0])), "a.pt"), read_pt,
    ),
    "splats.npz": (
        lambda: _npz(np.savez, gaussians=_splats[0], psnr=np.float64(30)), read_splats,
    ),
    "stats.npz": (
        lambda: _npz(np.savez, mean=np.zeros(8), std=np.ones(8), layout=np.array("rs")),
        read_statistics,
    ),
    "splats.json": (lambda: _written(_packed, "splats.json"), _read_packed),
    "splats.npy": (lambda: _written(_packed, "splats.npy"), _read_packed),
    "table.csv": (lambda: _written(_table_of_a_fit, "table.csv"), _read_table),
    "original.pt": (_original, read_original),
    "rates.jsonl": (
        lambda: json.dumps(
            {"form": "a", "selects": "loss", "better": "lower", "rate": "0.1", "seed": 0,
             "steps": 3, "step_ms": 1.5, "chosen": True, "inside": True, "delay": "1",
             "test/loss": 0.5, "val/loss": None}
        ).encode() + b"\n",
        lambda path: told(read_rates([path], NEEDED)),
    ),
    "search.yaml": (
        lambda: _written(lambda at: open_plan(at / "new", _SEARCH), "new/search.yaml"),
        lambda path: open_plan(path.parent, _SEARCH),
    ),
    "search.journal": (_journal, _read_journal),
    "sizes.json": (
        lambda: b'{"layout": "rs", "sampling": "corner", "sizes": {"a": [6, 8]}}',
        lambda path: read_sizes(path.parent),
    ),
}  # fmt: skip
_PIECES = (
    b"\0", b"\xff", b"\n", b"[" * 3000, b"{", b"}", b":", b'"', b"9" * 5000, b"-1", b"1e999",
    b"\xef\xbb\xbf", b"\x1b[31m", b"\xe9", b"null", b"true", b"[]", b"{}", b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80", b"&a [*a]", b"<<: ", b"nan", b",", b"@dimensions\n", b"?",
)  # fmt: skip


def damaged(content: bytes, random: Random) -> bytes:
    """`content` with one to four faults: bits, cuts, pieces put in, moved or taken out."""
    found = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        place = random.randrange(len(found) + 1)
        length = random.choice((1, 2, 4, 16, 200))
        match random.randrange(7):
            case 0 if found:
                found[place % len(found)] ^= 1 << random.randrange(8)
            case 1 if found:
                found[place % len(found)] = random.randrange(256)
            case 2:
                del found[place:]
            case 3:
                del found[place : place + length]
            case 4:
                found[place:place] = random.choice(_PIECES)
            case 5:
                found[place : place + length] = random.choice(_PIECES)
            case 6:
                found[place:place] = found[random.randrange(len(found) + 1) :][:length]
    return bytes(found)


def raw(folder: Path, cases: int, seed: int, names: tuple[str, ...] = tuple(FILES)) -> list[str]:
    """What escaped or took too long among `cases` damaged files, spread evenly over `names`."""
    random, wrong = Random(seed), []
    sound = {name: FILES[name][0]() for name in names}
    for case in range(cases):
        name = names[case % len(names)]
        home = folder / name.replace(".", "-")
        home.mkdir(exist_ok=True)
        content = damaged(sound[name], random)
        (home / name).write_bytes(content)
        start = time.process_time()
        try:
            FILES[name][1](home / name)
        except WeftError as error:
            if not (error.message and error.where):
                wrong.append(f"{case} {name}: says too little: {error}")
        except Exception as error:
            wrong.append(f"{case} {name}: {type(error).__name__}: {error}")
        if time.process_time() - start > LONGEST:
            wrong.append(f"{case} {name}: {time.process_time() - start:.1f} s")
    return wrong


@pytest.mark.parametrize("name", FILES)
def test_a_sound_file_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name][0]())
    if not name.startswith("images"):
        FILES[name][1](tmp_path / name)


def test_damaged_files_are_refused_in_words(tmp_path: Path) -> None:
    assert raw(tmp_path, 540, seed=1) == []


@pytest.mark.exhaustive
def test_fifteen_thousand_damaged_files_are_refused_in_words(tmp_path: Path) -> None:
    assert raw(tmp_path, 15_000, seed=2) == []
