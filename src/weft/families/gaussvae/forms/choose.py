"""Forms of the renderer: which can do what is asked, the fastest of them, its call."""

from __future__ import annotations

from torch import Tensor

from weft.errors import UsageError
from weft.families.gaussvae import reference
from weft.families.gaussvae.forms.products import gemm, sdpa
from weft.families.gaussvae.splats.geometry import Ellipses

FORMS = ("auto", "dense", "gemm", "sdpa")


def blended(
    shapes: Ellipses,
    height: int,
    width: int,
    *,
    normalised: bool,
    topk: int,
    cut: float | None,
    form: str = "auto",
) -> Tensor:
    """What `reference.blend` gives, by the form asked for; shapes of (M, N), out (M, 3, H, W).

    Raises:
        UsageError: if `form` is unknown or cannot do what is asked.
    """
    if form not in FORMS:
        raise UsageError(f"unknown form `{form}`", expected=f"one of {', '.join(FORMS)}")
    plain = normalised and topk == 0
    if form == "auto":
        form = "sdpa" if plain else "gemm"
    if form == "sdpa" and not plain:
        raise UsageError(
            "the form `sdpa` blends all splats, normalised", hint="form=gemm does the others"
        )
    if form == "sdpa":
        return sdpa(shapes, height, width, cut=cut)
    how = gemm if form == "gemm" else reference.blend
    return how(shapes, height, width, normalised=normalised, topk=topk, cut=cut)
