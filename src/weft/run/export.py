"""A model's weights alone: a safetensors file with the config in its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.atomic import replacing
from weft.config.base import FamilyConfig
from weft.config.place import told
from weft.data.records import parse
from weft.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

_CONFIG = "weft"


def export(model: nn.Module, config: FamilyConfig, path: Path) -> None:
    """Writes the weights and, as JSON in the file's metadata, the config."""
    from safetensors.torch import save_file

    kept, shared = _once(model.state_dict())
    with replacing(path) as temporary:
        save_file(kept, temporary, metadata={_CONFIG: json.dumps(config.plain()), **shared})


def _once(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A model's tensors, each once; and for each further name of a tensor, the name it is kept by.

    Two names are the same tensor if address, shape and strides are equal. Equal storage is not
    enough: cuDNN keeps all weights of a recurrent layer in one.
    """
    names: dict[tuple[Any, ...], str] = {}
    kept: dict[str, Tensor] = {}
    shared: dict[str, str] = {}
    for name, tensor in state.items():
        place = tensor.data_ptr(), tensor.shape, tensor.stride()
        first = names.setdefault(place, name) if tensor.numel() else name
        if first == name:
            kept[name] = tensor.detach().contiguous().clone()
        else:
            shared[name] = first
    return kept, shared


def exported_config(path: Path) -> dict[str, Any]:
    """The plain config in a file that `export` wrote.

    Raises:
        CheckpointError: if the file is not one of weft's.
    """
    try:
        return parse(_metadata(path)[_CONFIG], str(path), {"family": str})
    except DataError as error:
        raise CheckpointError(
            "the config in the weights is damaged",
            where=error.where,
            expected=error.expected,
            hint=error.hint,
        ) from error


def exported_weights(path: Path) -> dict[str, Tensor]:
    """The state_dict in a file that `export` wrote, with shared tensors under all their names.

    Raises:
        CheckpointError: if the file is damaged, or weft did not write it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    metadata = _metadata(path)
    # The file holds a shared tensor once; its other names are in the metadata.
    shared = {name: kept for name, kept in metadata.items() if name != _CONFIG}
    try:
        weights = load_file(path)
        return weights | {name: weights[kept] for name, kept in shared.items()}
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            "cannot read the weights", where=str(path), expected="the tensors that weft wrote",
            hint=f"found: {told(error)}",
        ) from error  # fmt: skip


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            "cannot read the weights", where=str(path), expected="a safetensors file",
            hint=f"found: {told(error)}",
        ) from error  # fmt: skip
    if _CONFIG not in metadata:
        raise CheckpointError("weft did not write this file", where=str(path))
    return metadata
