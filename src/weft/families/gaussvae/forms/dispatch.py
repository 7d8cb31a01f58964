"""Selects the form of the renderer: the requested one, or the fastest that is possible."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from weft.errors import MissingExtra, UsageError
from weft.families.gaussvae import reference
from weft.families.gaussvae.forms.products import gemm, sdpa
from weft.families.gaussvae.splats.geometry import Frame, ellipses
from weft.nn.once import is_transformed

_NATIVE_MOST = 2**24
"""Rows, pixels of a row and splats that float32 tells apart, as its lists come out of it."""

FORMS = ("dense", "gemm", "sdpa", "native", "triton")


def rendered(splats: Tensor, frame: Frame, form: str = "auto") -> Tensor:
    """Pictures (M, 3, H, W) of splats (M, N, 8) by the requested form, or by the fastest.

    Raises:
        UsageError: if `form` is unknown or cannot do what is asked.
        MissingExtra: if it needs a package that is not here.
    """
    if form == "auto":
        form = _fastest(splats, frame)
    elif refused := _refusal(splats, frame, form):
        raise refused
    if form == "native":
        from weft.families.gaussvae.forms.native import native

        return native(splats, frame)
    if form == "triton":
        from weft.families.gaussvae.forms.gpu import by_triton

        return by_triton(splats, frame)
    shapes = ellipses(splats, frame)
    return {"dense": reference.blend, "gemm": gemm, "sdpa": sdpa}[form](shapes, frame)


def _fastest(splats: Tensor, frame: Frame) -> str:
    for form in ("native", "triton", "sdpa"):
        refused = _refusal(splats, frame, form)
        if refused is None:
            return form
        if form == "native" and isinstance(refused, MissingExtra):
            _notice()
    return "gemm"


def _refusal(splats: Tensor, frame: Frame, form: str) -> UsageError | MissingExtra | None:
    """The error if the form cannot render this; else None."""
    if form not in FORMS:
        return UsageError(f"unknown form `{form}`", expected=f"auto, {', '.join(FORMS)}")
    if form == "sdpa" and not (frame.normalised and frame.topk == 0):
        return UsageError(
            "the form `sdpa` blends all splats, and normalised", hint="form=gemm knows the rest"
        )
    if form == "triton" and frame.topk:
        return UsageError("the form `triton` blends all splats", hint="form=gemm knows top-K")
    if device := {"native": "cpu", "triton": "cuda"}.get(form):
        wanted = splats.dtype == torch.float32 and splats.device.type == device
        if not wanted or torch.compiler.is_compiling() or is_transformed():
            return UsageError(
                f"the form `{form}` is asked for {splats.dtype} on {splats.device.type}",
                expected=f"torch.float32 on {device}, outside of compiled code and of torch.func",
            )
    if form == "native" and not has_numba():
        return MissingExtra("numba", "splats", "the form `native`")
    if form == "native" and max(frame.height, frame.width, splats.shape[-2]) > _NATIVE_MOST:
        return UsageError(
            f"the form `native` is asked for {splats.shape[-2]} splats and {frame.height} x "
            f"{frame.width} pixels",
            expected=f"at most {_NATIVE_MOST:,} of each",
        )
    if form == "triton" and not _has_triton():
        return UsageError("the form `triton` needs the package `triton`, which torch brings")
    return None


@cache
def has_numba() -> bool:
    """Whether numba is installed, so that the form `native` exists."""
    return find_spec("numba") is not None


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def _notice() -> None:
    """Once a process."""
    warnings.warn(
        "splats are drawn by a slow form, hundreds of times as slow: numba is not installed "
        "(pip install 'weft[splats]')",
        stacklevel=2,
    )
