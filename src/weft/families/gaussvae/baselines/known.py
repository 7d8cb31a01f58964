"""The curves of known codes on one set of pictures, computed once and kept in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256

from torch import Tensor

from weft.data.cache import Arrays, cached, checksum
from weft.families.gaussvae.baselines import linear_code, raw_splats
from weft.families.gaussvae.baselines.file_formats import QUALITIES, jpeg, webp
from weft.families.gaussvae.codec.entropy import coder
from weft.families.gaussvae.nets.principal import Principal
from weft.families.gaussvae.score.bd_rate import Curve
from weft.families.gaussvae.score.rate import channels_last

PCA = "PCA of pixels"
COMPONENTS = 256
"""Of pictures of 32 x 32 the others are zero at all these steps but for a few."""
FITTED = 300
"""Pictures of either kind that splats are fitted to: they take longer than all else."""
_VERSION = 1


def known(train: Tensor, images: Tensor) -> Mapping[str, Curve]:
    """Name -> curve of each known code.

    Args:
        train: pictures that components, ranges and tables are of, (M, 3, h, w), uint8.
        images: those that are coded.

    Raises:
        MissingExtra: the entropy coder is not installed.
    """
    coder()
    named = {PCA: "pca", "JPEG": "jpeg", "WebP": "webp", "raw splats": "splats"}
    settings = (linear_code.STEPS, QUALITIES, raw_splats.LADDER, COMPONENTS, FITTED, _VERSION)
    key = checksum(_digest(train), _digest(images), str(settings))

    def make() -> Arrays:
        principal = Principal((3, *images.shape[-2:]), min(COMPONENTS, images[0].numel()))
        principal.fit(train)
        shown = channels_last(images)
        curves = {
            "pca": linear_code.linear_code(principal, train, images),
            "jpeg": jpeg(shown),
            "webp": webp(shown),
            "splats": raw_splats.raw_splats(train[:FITTED], images[:FITTED]),
        }
        return {
            f"{name}_{field.name}": getattr(curve, field.name)
            for name, curve in curves.items()
            for field in fields(Curve)
        }

    kept = cached("gaussvae-curves", key, make)
    return {
        name: Curve(*(kept[f"{short}_{field.name}"] for field in fields(Curve)))
        for name, short in named.items()
    }


def _digest(images: Tensor) -> str:
    """The checksum of pictures."""
    values = images.contiguous().numpy()
    return sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()
