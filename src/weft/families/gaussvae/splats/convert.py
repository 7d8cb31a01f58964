"""Converts folders of checkpoints to archives and back; finished files are skipped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from weft.atomic import destined, write_text
from weft.errors import UsageError, WeftError
from weft.families.gaussvae.splats.files import (
    SplatFile,
    read_npz,
    read_pt,
    read_sizes,
    write_npz,
    write_pt,
    write_sizes,
)

WAYS = {"pt2npz": (".pt", ".npz"), "npz2pt": (".npz", ".pt")}
"""Direction -> suffix of what is read, and of what is written."""

_RATIOS = {"pt2npz": "compression_ratio", "npz2pt": "expansion_ratio"}
"""Direction -> the original's name for checkpoint bytes over archive bytes."""

LOG, SUMMARY = "conversion_log.jsonl", "summary.json"


@dataclass(frozen=True)
class Order:
    """Settings of a conversion.

    Attributes:
        way: one of WAYS.
        validate: whether each written file is read again and compared.
        vis_feat: whether checkpoints get the tensor of that name.
        force: whether existing files are overwritten.
        batch: number of files between two summaries.
        log: file that gets a line for each file; by default conversion_log.jsonl beside them.
    """

    way: str
    validate: bool = True
    vis_feat: bool = True
    force: bool = False
    batch: int = 50
    log: Path | None = None


def inputs(place: Path, way: str) -> list[Path]:
    """The file, or the files of a folder, that a direction reads.

    Raises:
        UsageError: if there is none.
    """
    suffix = WAYS[way][0]
    found = sorted(place.glob(f"*{suffix}")) if place.is_dir() else [place]
    if not found or not found[0].is_file():
        raise UsageError(
            f"there is no {suffix} file", where=str(place), expected=f"a {suffix} file, or a folder"
        )
    return found


def target(path: Path, out: Path, way: str) -> Path:
    """The path of the converted file."""
    return out / f"{path.stem}{WAYS[way][1]}"


def unfinished(paths: Sequence[Path], out: Path, order: Order) -> list[Path]:
    """The files that are still to be converted."""
    return [path for path in paths if order.force or not target(path, out, order.way).exists()]


def convert(path: Path, out: Path, order: Order) -> dict[str, Any]:
    """Converts one file; on failure the result has `error`, and nothing is written."""
    began = time.perf_counter()
    made = target(path, out, order.way)
    try:
        file = read_pt(path) if order.way == "pt2npz" else read_npz(path)
        _write(made, file, order)
        passed = _same(made, file) if order.validate else None
    except WeftError as error:
        found = f"{error.message}: {error.hint}" if error.hint else error.message
        return {"success": False, "duration": time.perf_counter() - began, "error": found}
    pt, npz = _pt_and_npz(path, made, order)
    return {
        "success": True,
        "duration": time.perf_counter() - began,
        "pt_size": pt,
        "npz_size": npz,
        "num_gaussians": len(file.splats),
        _RATIOS[order.way]: pt / npz,
        "validation_passed": passed,
    }


def convert_all(
    paths: Sequence[Path], out: Path, order: Order, told: Callable[[int], object]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Converts the unfinished files of `paths`, which are of one folder.

    The pictures' sizes are copied too, if sizes.json has them.

    Args:
        paths: the files.
        out: folder of the results.
        order: the settings.
        told: called with the number of finished files.
    Returns: the summary, which is also written, and the reason of each failure by file name.
    """
    out.mkdir(parents=True, exist_ok=True)
    todo = unfinished(paths, out, order)
    log = order.log or out / LOG
    destined(log)
    lines: list[dict[str, Any]] = []
    with log.open("a") as stream:
        for number, path in enumerate(todo, start=1):
            outcome = convert(path, out, order)
            names = {"file_stem": path.stem, "file_name": path.name, "timestamp": _now()}
            line = names | outcome
            lines.append(line)
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            told(len(paths) - len(todo) + number)
            if number % order.batch == 0:
                _summarised(paths, out, order, lines)
    sizes = read_sizes(paths[0].parent)
    known = {path.stem: sizes[path.stem] for path in todo if path.stem in sizes}
    if known:
        write_sizes(out, known)
    failed = {line["file_name"]: line["error"] for line in lines if not line["success"]}
    return _summarised(paths, out, order, lines), failed


def _summarised(
    paths: Sequence[Path], out: Path, order: Order, lines: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Writes and returns a summary of the files in `out` and the failures."""
    done = [path for path in paths if target(path, out, order.way).exists()]
    failed = [line for line in lines if not line["success"]]
    sizes = [_pt_and_npz(path, target(path, out, order.way), order) for path in done]
    pt, npz = sum(pair[0] for pair in sizes), sum(pair[1] for pair in sizes)
    summary = {
        "total_files": len(paths),
        "converted": len(done),
        "remaining": len(paths) - len(done),
        "success_count": len(done),
        "failure_count": len(failed),
        "validation_failures": sum(line.get("validation_passed") is False for line in lines),
        "total_pt_size": pt,
        "total_npz_size": npz,
        _RATIOS[order.way]: pt / npz if npz else 0.0,
        "last_updated": _now(),
    }
    write_text(out / SUMMARY, json.dumps(summary, indent=2) + "\n")
    return summary


def _pt_and_npz(path: Path, made: Path, order: Order) -> tuple[int, int]:
    """Bytes of the checkpoint, and of the archive."""
    read, written = path.stat().st_size, made.stat().st_size
    return (read, written) if order.way == "pt2npz" else (written, read)


def _write(path: Path, file: SplatFile, order: Order) -> None:
    if order.way == "pt2npz":
        write_npz(path, file)
    else:
        write_pt(path, file, vis_feat=order.vis_feat)


def _same(path: Path, file: SplatFile) -> bool:
    """Whether a written file has the content of `file`."""
    there = read_npz(path) if path.suffix == ".npz" else read_pt(path)
    wanted = file.splats if path.suffix == ".npz" else file.splats.astype(np.float32)
    same = np.array_equal(there.splats, wanted, equal_nan=True)
    return same and dict(there.scores) == dict(file.scores)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
