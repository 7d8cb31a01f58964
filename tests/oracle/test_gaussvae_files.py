"""Both converters of the original, by what they wrote of five splats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weft.families.gaussvae.splats.convert import (
    LOG,
    SUMMARY,
    Order,
    convert,
    convert_all,
    inputs,
)
from weft.families.gaussvae.splats.files import GROUPS

with np.load(Path(__file__).with_name("gaussvae_records") / "files.npz") as file:
    RECORD = dict(file)
OPTION: dict[str, Any] = json.loads(str(RECORD["option"]))
SCORES = {"nested": {"psnr": 31.5, "ssim": 0.9}, "flat": {"lpips": 0.1}, "float64": {}}


def _checkpoint(path: Path, kind: str) -> Path:
    """The recorded input: with its tensors in a state_dict or beside the scores."""
    splats = torch.from_numpy(RECORD["input/gaussians"])
    if kind == "float64":
        splats = torch.from_numpy(RECORD["expect/float64_npz_gaussians"])
    parts = splats.split(list(GROUPS.values()), 1)
    tensors = {name: part.clone() for name, part in zip(GROUPS, parts, strict=True)}
    held = tensors if kind == "flat" else {"state_dict": tensors}
    torch.save({**held, **SCORES[kind]}, path)
    return path


@pytest.mark.parametrize("kind", SCORES)
def test_a_checkpoint_becomes_the_recorded_archive(tmp_path: Path, kind: str) -> None:
    outcome = convert(_checkpoint(tmp_path / "one.pt", kind), tmp_path, Order("pt2npz"))
    recorded = OPTION[f"{kind}_to_npz"]
    assert sorted(outcome) == [key for key in recorded["result_keys"] if key != "error"]
    assert outcome["success"] and outcome["validation_passed"]
    with np.load(tmp_path / "one.npz") as made:
        forms = {name: [list(value.shape), str(value.dtype)] for name, value in made.items()}
        assert forms == recorded["npz"]
        for name in made.files:
            assert np.array_equal(made[name], RECORD[f"expect/{kind}_npz_{name}"])


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("vis_feat", [False, True])
def test_an_archive_becomes_the_recorded_checkpoint(
    tmp_path: Path, kind: str, vis_feat: bool
) -> None:
    convert(_checkpoint(tmp_path / "one.pt", kind), tmp_path, Order("pt2npz"))
    back = tmp_path / "back"
    back.mkdir()
    outcome = convert(tmp_path / "one.npz", back, Order("npz2pt", vis_feat=vis_feat))
    recorded = OPTION[f"{kind}_to_pt_vis{int(vis_feat)}"]
    assert sorted(outcome) == recorded["result_keys"]
    made = torch.load(back / "one.pt", weights_only=True)
    tensors = made.pop("state_dict")
    found = {name: [list(value.shape), str(value.dtype)] for name, value in tensors.items()}
    scores = {name: type(value).__name__ for name, value in made.items()}
    assert {"state_dict": found, **scores} == recorded["keys"]
    assert made == SCORES[kind]
    splats = torch.cat([tensors[name] for name in GROUPS], 1)
    assert np.array_equal(splats.numpy(), RECORD["input/gaussians"])
    assert not vis_feat or not tensors["vis_feat"].any()


def _refused(folder: Path, name: str) -> tuple[Path, str]:
    """An input that the original refuses, and the direction."""
    tensors = {key: torch.zeros(5, width) for key, width in GROUPS.items()}
    if name == "refused_missing":
        del tensors["rot"]
    if name == "refused_wide":
        tensors["feat"] = torch.zeros(5, 4)
    if name in ("refused_missing", "refused_wide"):
        torch.save({"state_dict": tensors}, folder / "bad.pt")
        return folder / "bad.pt", "pt2npz"
    wrong = (
        {"splats": np.zeros((5, 8))} if name.endswith("key") else {"gaussians": np.zeros((5, 7))}
    )
    np.savez(folder / "bad.npz", **wrong)
    return folder / "bad.npz", "npz2pt"


@pytest.mark.parametrize("name", [key for key in OPTION if key.startswith("refused_")])
def test_what_the_original_refuses_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str
) -> None:
    path, way = _refused(tmp_path, name)
    outcome = convert(path, tmp_path, Order(way))
    assert sorted(outcome) == OPTION[name]["result_keys"]
    assert outcome["success"] is OPTION[name]["success"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_s_log_and_summary_have_the_recorded_keys(tmp_path: Path) -> None:
    recorded = OPTION["folder"]
    for number in range(recorded["npz"]):
        _checkpoint(tmp_path / f"{number}.pt", "nested")
    _refused(tmp_path, "refused_missing")
    out = tmp_path / "out"
    convert_all(inputs(tmp_path, "pt2npz"), out, Order("pt2npz"), lambda done: None)
    assert len(list(out.glob("*.npz"))) == recorded["npz"]
    lines = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    for line in lines:
        kinds = {name: type(value).__name__ for name, value in line.items()}
        assert kinds == recorded[f"log_keys_of_{'success' if line['success'] else 'failure'}"]
    summary = json.loads((out / SUMMARY).read_text())
    kinds = {name: type(value).__name__ for name, value in summary.items()}
    assert kinds == recorded["summary_keys"]
    counts = [summary[name] for name in ("total_files", "success_count", "failure_count")]
    assert counts == [recorded["npz"] + 1, recorded["npz"], 1]
