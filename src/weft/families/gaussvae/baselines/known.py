"""Rate-distortion curves of known codes on a set of pictures, computed once and cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from hashlib import sha256

import torch
from torch import Tensor

from weft.data.cache import cached, checksum
from weft.families.gaussvae.baselines import linear_code, raw_splats
from weft.families.gaussvae.baselines.file_formats import QUALITIES, jpeg, webp
from weft.families.gaussvae.codec.entropy import coder
from weft.families.gaussvae.nets.principal import Principal
from weft.families.gaussvae.score.bd_rate import Curve
from weft.families.gaussvae.score.rate import channels_last

PCA = "PCA of pixels"
COMPONENTS = 256
"""Number of principal components; further ones of 32 x 32 pictures are nearly always quantised to
zero at these steps."""
FITTED = 300
"""Number of training and of test pictures for `raw_splats`, as fits take the longest."""
_VERSION = 1


def known(train: Tensor, images: Tensor) -> Mapping[str, Curve]:
    """Name -> curve of each known code.

    Args:
        train: pictures from which components, ranges and tables are computed, uint8 (M, 3, h, w).
        images: the pictures to code.

    Raises:
        MissingExtra: if the entropy coder is not installed.
    """
    coder()
    shown = channels_last(images)

    def linear() -> Curve:
        principal = Principal((3, *images.shape[-2:]), min(COMPONENTS, images[0].numel()))
        principal.fit(train)
        return linear_code.linear_code(principal, train, images)

    both = _digest(train), _digest(images)
    codes: Mapping[str, tuple[Callable[[], Curve], tuple[object, ...]]] = {
        PCA: (linear, (*both, linear_code.STEPS, COMPONENTS)),
        "JPEG": (lambda: jpeg(shown), (both[1], QUALITIES)),
        "WebP": (lambda: webp(shown), (both[1], QUALITIES)),
        "raw splats": (
            lambda: raw_splats.raw_splats(_spread(train), _spread(images)),
            (*both, raw_splats.LADDER, FITTED),
        ),
    }
    return {name: _kept(name, make, about) for name, (make, about) in codes.items()}


def _kept(name: str, make: Callable[[], Curve], about: tuple[object, ...]) -> Curve:
    """The curve of a code, from the cache if it is there."""
    arrays = cached("gaussvae-curves", checksum(_VERSION, name, str(about)), lambda: vars(make()))
    return Curve(*(arrays[field.name] for field in fields(Curve)))


def _spread(images: Tensor) -> Tensor:
    """`FITTED` of the pictures, evenly spaced from the first to the last."""
    count = min(FITTED, len(images))
    return images[torch.linspace(0, len(images) - 1, count).round().long()]


def _digest(images: Tensor) -> str:
    """The checksum of pictures."""
    values = images.contiguous().numpy()
    return sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()
