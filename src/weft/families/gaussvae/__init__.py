"""gaussvae: pictures as sets of 2D Gaussian splats, and splat sets as short latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.config.family import Family
from weft.config.kinds import Kind
from weft.families.gaussvae.config import Config, parallel
from weft.families.gaussvae.options.sections import KerasAdam
from weft.lazy import lazy

if TYPE_CHECKING:
    from weft.families.gaussvae.splats.fit import fit
    from weft.families.gaussvae.splats.rasterise import render

__all__ = ["FAMILY", "fit", "render"]

FAMILY = Family(
    name="gaussvae",
    summary="pictures as 2D Gaussian splats, and a variational code of splat sets",
    config=Config,
    task="weft.families.gaussvae.task:task_of",
    default="demo",
    parallel=parallel,
    bench="weft.families.gaussvae.bench.cases:cases",
    comparison="weft.families.gaussvae.figures.rate_distortion:figures",
    studies={"gaussvae-rd": "weft.studies.gaussvae_rd:main"},
    verbs={
        "data fit": "weft.verbs.gaussvae_splats:fit",
        "data draw": "weft.verbs.gaussvae_splats:draw",
        "data convert": "weft.verbs.gaussvae_splats:convert",
        "compress": "weft.verbs.gaussvae_pictures:compress",
        "decompress": "weft.verbs.gaussvae_pictures:decompress",
    },
    kinds={
        "optim": {"keras_adam": Kind(KerasAdam, "weft.families.gaussvae.optim.keras:keras_adam")}
    },
)

__getattr__ = lazy(__name__, {"fit": ".splats.fit", "render": ".splats.rasterise"})
