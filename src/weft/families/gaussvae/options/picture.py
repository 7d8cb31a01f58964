"""The section `picture`: nets and objective of arch=image, which learns from pixels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weft.config.section import Section


class PictureConfig(Section):
    """Options of arch=image: from pictures to splats, with the render loss only."""

    decoder: Literal["splats", "pixels"] = Field(
        "splats",
        description="What latents are decoded to; pixels (by an MLP of equal width) is a control.",
    )
    splats: int = Field(
        256, ge=1, description="Splats of a picture; a square number, as they form a grid."
    )
    shapes: bool = Field(
        True,
        description="Whether centres and covariances depend on the latent; else only colours do.",
    )
    components: int = Field(
        512,
        ge=1,
        description="Principal components that the encoder reads, at most as many as there are.",
    )
    width: int = Field(1024, ge=1, description="Units in a layer of the MLPs.")
    dropout: float = Field(
        0.15, ge=0, lt=1, description="Share of units dropped in the encoder's MLP."
    )
    start: Literal["pca", "random"] = Field(
        "pca", description="Whether the decoder begins as principal components on the grid."
    )
    error: Literal["log", "mse"] = Field(
        "log", description="Mean over pictures of log(mse + 1e-4), or the mean squared error."
    )
    flip: bool = Field(True, description="Whether half of the training pictures are mirrored.")
    shift: int = Field(
        2, ge=0, description="Most pixels by which the pictures of every other batch are shifted."
    )
    search_from: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Share of training after which half of each batch is decoded from latents that "
        "were searched for, not from the encoder's; 1 for never.",
    )
    search_steps: int = Field(4, ge=1, description="Steps of the latents' search.")
    search_lr: float = Field(0.1, gt=0, description="Step size of the search's first step.")
    refine: int = Field(
        10, ge=0, description="Steps of search at evaluation, for `psnr_refined`; 0 for none."
    )
    refine_lr: float = Field(0.1, gt=0, description="Step size of the first of these steps.")
