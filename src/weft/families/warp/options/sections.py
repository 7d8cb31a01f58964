"""Sections of a warp config: its data, the original's optimiser, the original's schedule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from weft.config.explain import suggest
from weft.config.paths import MayBePath, is_npz
from weft.config.section import KindConfig
from weft.config.sections import LAYOUT, DataConfig, Layout, Plateau
from weft.families.warp.options.data_sets import SETS, find

WITH_TARGET = tuple(name for name, known in SETS.items() if known.target)
"""Data sets whose target is another sequence than the input."""
UNLABELLED = tuple(name for name, known in SETS.items() if not known.labels)
COLLECTIONS = tuple(name for name, known in SETS.items() if known.collection)
"""Data sets of which `data.subset` must name a member."""
_PIXELS = tuple(name for name, known in SETS.items() if known.pixels)
_MEMBERS = "; ".join(f"of {name} {known.members}" for name, known in SETS.items() if known.members)


def _check_dataset(name: str) -> str:
    if find(name):
        return name
    packing = "`weft data pack TABLE --out FILE.npz` makes one of a table"
    known = packing if name.endswith((".csv", ".tsv")) else f"known: {', '.join(SETS)}"
    hint = suggest(name, list(SETS), known)
    raise ValueError(f"there is no data set `{name}`, and it is no .npz file; {hint}")


Side = Annotated[int, Field(ge=1, le=1024)]
"""Pixels along one side of a picture, each of which is a step of its sequence."""


class Reference(KindConfig):
    """The original's AdaBelief: `eps_root` is added to the second moment at every step and stays.

    `gradient_lim` bounds the gradients before it, and `schedule.kind: literal` completes the chain.
    """

    kind: Literal["reference"] = "reference"
    lr: float = Field(1e-5, gt=0, description="Peak learning rate.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay of the second moment.")
    eps: float = Field(1e-16, ge=0, description="Added to the root of the second moment.")
    eps_root: float = Field(
        1e-16, ge=0, description="Added to the second moment at every step, and kept in it."
    )


class LiteralPlateau(Plateau):
    """The original's plateau rule: a mean counts as improved below (1 - rtol) best.

    For negative losses that threshold lies above the best one; `plateau` is the corrected rule.
    """

    kind: Literal["literal"] = "literal"  # type: ignore[assignment]
    cooldown: int = Field(0, ge=0, description="Averages after a cut that are not counted as bad.")


class WarpData(DataConfig):
    """Which sequences are learnt, and how they are cut and scaled."""

    dataset: Annotated[str, AfterValidator(_check_dataset), MayBePath(is_npz)] = Field(
        "digits",
        description=f"{', '.join(SETS)}, or the path of an .npz file.",
    )
    layout: Layout | None = Field(None, description=LAYOUT)
    subset: str | None = Field(None, description=f"Member of a collection: {_MEMBERS}.")
    seed: int = Field(
        0, ge=0, description="Seed of generated sequences and of the split; `seed` changes neither."
    )
    train_size: int | None = Field(
        None, ge=1, description="Training sequences, validation included; all if unset."
    )
    test_size: int | None = Field(None, ge=1, description="Test sequences; all if unset.")
    val_share: float = Field(
        0.1, ge=0, lt=1, description="Share of the training sequences held out for validation."
    )
    normalize: bool = Field(
        False,
        description="Whether channels are scaled to [-1, 1] by the training set's extremes "
        "(images, trends, lotka, ett and pems08 always have their own scale).",
    )
    scale: Literal["extremes", "deviation"] = Field(
        "extremes",
        description="What brings ett to a common scale: [-1, 1] by the training extremes, or mean "
        "0 and deviation 1 of the training rows, as in the literature.",
    )
    sequence_length: int | None = Field(
        None, ge=2, description="Steps of a generated or cut sequence; the data set's own if unset."
    )
    data_dim: int | None = Field(
        None, ge=1, description="Inputs n of an icl task; channels kept of other series."
    )
    stride: int = Field(1, ge=1, description="Steps between training windows cut from a series.")
    resolution: tuple[Side, Side] = Field(
        (64, 64), description="Height and width to which celeba is resized."
    )
    downsample_factor: int = Field(
        2, ge=1, description="Every n-th pixel of an image is kept: 2 makes 14 x 14 of mnist."
    )
    image_datasets: tuple[
        Annotated[str, AfterValidator(_check_dataset), MayBePath(is_npz)], ...
    ] = Field(
        _PIXELS, description="Data sets whose steps are pixels, and which are drawn as images."
    )
    cumsum: Literal["time", "features"] = Field(
        "time", description="Axis along which icl inputs are cumulated; features is the original's."
    )
