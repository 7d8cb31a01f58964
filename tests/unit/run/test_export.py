"""Exported weights hold the whole state of a model and its config."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from weft import api as weft
from weft.errors import CheckpointError
from weft.run.export import export, exported_config, exported_weights


def test_tensors_that_share_memory_come_back_under_all_their_names(
    toy: str, tmp_path: Path
) -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False), nn.BatchNorm1d(5))
    model[1].weight = model[0].weight
    config = weft.configure("toy/small").config
    export(model, config, tmp_path / "model.safetensors")
    found, state = exported_weights(tmp_path / "model.safetensors"), model.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert exported_config(tmp_path / "model.safetensors") == config.plain()


def test_weights_laid_into_one_storage_are_no_ties(toy: str, tmp_path: Path) -> None:
    model = nn.GRU(3, 4)
    flat = torch.arange(float(sum(weight.numel() for weight in model.parameters())))
    start = 0
    for weight in model.parameters():  # as cuDNN lays them
        weight.data = flat[start : start + weight.numel()].view_as(weight)
        start += weight.numel()
    export(model, weft.configure("toy/small").config, tmp_path / "model.safetensors")
    found = exported_weights(tmp_path / "model.safetensors")
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


@pytest.mark.gpu
def test_a_recurrent_layer_on_the_gpu_is_exported(toy: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.GRU(3, 4, num_layers=2)).cuda()
    export(model, weft.configure("toy/small").config, tmp_path / "model.safetensors")
    found = exported_weights(tmp_path / "model.safetensors")
    assert all(torch.equal(found[name], value.cpu()) for name, value in model.state_dict().items())


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2)}, tmp_path / "theirs.safetensors")
    with pytest.raises(CheckpointError, match="weft did not write this file"):
        exported_config(tmp_path / "theirs.safetensors")
