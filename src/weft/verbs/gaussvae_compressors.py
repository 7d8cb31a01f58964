"""A run's compressor: fitted once to its model and training data, then read from its file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from weft.config.load import validate
from weft.config.place import told
from weft.data.source import DataSpec, Field
from weft.errors import CheckpointError, UsageError
from weft.families import find
from weft.families.gaussvae.codec.compressor import Compressor
from weft.families.gaussvae.codec.container import MOST_PIXELS
from weft.families.gaussvae.codec.entropy import MOST_BINS
from weft.families.gaussvae.nets.picture_model import PictureModel
from weft.run.export import export, exported_config, exported_weights
from weft.run.model import Trained
from weft.run.named import named
from weft.task.load import load_task

FILE = "compressor.safetensors"
"""Name of the compressor's file in the run's directory."""
_BATCH = 256


def opened(word: Path, *, fit: bool = False) -> Compressor:
    """The compressor that `word` names.

    Args:
        word: a run, or a compressor's file.
        fit: whether to fit the compressor and write its file if the run has none yet, or one of
            other weights than the run's.

    Raises:
        UsageError: if the model codes no pictures, or the run or file holds no compressor.
        CheckpointError: if the file is damaged.
    """
    if word.is_file():
        return read(word)
    run = named(word)
    path = run.path / FILE
    if not fit:
        if path.is_file():
            return read(path)
        raise _none(path)
    trained = run.load()
    if path.is_file() and _same(kept := read(path), trained.model):
        return kept
    compressor = fitted(trained)
    export(compressor, trained.parts.config, path)
    return compressor


def fitted(trained: Trained) -> Compressor:
    """A compressor fitted to a trained model and its training pictures.

    Raises:
        UsageError: if the model codes no pictures, or its latents are not sampled, so that they
            have no deviations to choose quantisation steps by.
    """
    model = trained.model
    if not isinstance(model, PictureModel):
        raise UsageError(
            f"the model of this run, {trained.parts.config.family}, codes no pictures",
            where=str(trained.directory.path),
            expected="a run of gaussvae with arch=image",
        )
    images: Tensor = trained.data.train.fields["image"]
    return Compressor.of(model.cpu(), iter(images.cpu().split(_BATCH)))


def read(path: Path) -> Compressor:
    """Reads a compressor from its file; needs no data.

    Raises:
        UsageError: if the file holds only a model.
        CheckpointError: if it was not written by weft, or is damaged.
    """
    values, weights = exported_config(path), exported_weights(path)
    if "counts" not in weights:
        raise _none(path)
    family = find(str(values["family"]))
    config = validate(values, family, str(path))
    try:
        height, width = weights["tile_size"].tolist()
        if not 0 < height * width <= MOST_PIXELS:
            raise ValueError(f"tiles of {height} x {width} pixels")
        spec = DataSpec(
            {"image": Field((3, height, width), torch.uint8)}, (config.batch_size,), 1, {}
        )
        network: nn.Module = load_task(family, config).model(spec)
        unit, counts = weights["unit"], weights["counts"]
        if not (_are_tables(unit, counts) and len(unit) == getattr(config, "latent_dim", 0)):
            raise ValueError("tables that are none of this model's latents")
        compressor = Compressor(
            network, (height, width), torch.zeros_like(unit), torch.zeros_like(counts)
        )
        compressor.load_state_dict(weights)
    # Tensors are missing, or have other shapes than the config in the same file says.
    except (SafetensorError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(
            "the weights do not fit the config beside them", where=str(path),
            expected="the file as weft wrote it", hint=f"found: {told(error)}",
        ) from error  # fmt: skip
    return compressor


def _are_tables(unit: Tensor, counts: Tensor) -> bool:
    """Whether these are valid tables: each latent has a positive unit and at least one count, in
    an even number of bins, at most `MOST_BINS`."""
    bins = counts.shape[-1]
    shaped = counts.dim() == 2 and unit.shape == counts.shape[:1] and bins <= MOST_BINS
    positive = bool((unit > 0).all()) and bool(unit.isfinite().all())
    return shaped and bins % 2 == 0 and positive and bool((counts >= 0).all() & counts.any(1).all())


def _same(compressor: Compressor, model: nn.Module) -> bool:
    """Whether a compressor holds this model's weights."""
    ours, theirs = compressor.network.state_dict(), model.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[name], theirs[name].cpu()) for name in ours
    )


def _none(path: Path) -> UsageError:
    return UsageError(
        "there is no compressor here (tables of latents, needed to code and to decode)",
        where=str(path),
        expected=f"a run, or the {FILE} in one",
        hint="`weft compress IMG --model RUN` makes it of the run's training pictures",
    )
