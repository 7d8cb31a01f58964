"""Forms of the renderer: which can do what is asked, the fastest of them, its call."""

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

FORMS = ("dense", "gemm", "sdpa", "native")


def rendered(splats: Tensor, frame: Frame, form: str = "auto") -> Tensor:
    """Pictures (M, 3, H, W) of splats (M, N, 8) by the form asked for, or by the fastest.

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
    blended = {"dense": reference.blend, "gemm": gemm, "sdpa": sdpa}[form]
    return blended(ellipses(splats, frame), frame)


def _fastest(splats: Tensor, frame: Frame) -> str:
    refused = _refusal(splats, frame, "native")
    if refused is None:
        return "native"
    if isinstance(refused, MissingExtra):
        _notice()
    return "gemm" if _refusal(splats, frame, "sdpa") else "sdpa"


def _refusal(splats: Tensor, frame: Frame, form: str) -> UsageError | MissingExtra | None:
    """Why the form cannot do it, if it cannot."""
    if form not in FORMS:
        return UsageError(f"unknown form `{form}`", expected=f"auto, {', '.join(FORMS)}")
    if form == "sdpa" and not (frame.normalised and frame.topk == 0):
        return UsageError(
            "the form `sdpa` blends all splats, and normalised", hint="form=gemm knows the rest"
        )
    if form == "native":
        kind = f"{str(splats.dtype).removeprefix('torch.')} on {splats.device.type}"
        if kind != "float32 on cpu" or torch.compiler.is_compiling():
            return UsageError(
                f"the form `native` is asked for {kind}",
                expected="float32 on cpu, outside of compiled code",
            )
        if not has_numba():
            return MissingExtra("numba", "splats", "the form `native`")
    return None


@cache
def has_numba() -> bool:
    """Whether splats can be drawn natively."""
    return find_spec("numba") is not None


@cache
def _notice() -> None:
    """Once a process."""
    warnings.warn(
        "splats are drawn the slow way, a hundred times as slow: numba is not installed "
        "(pip install 'weft[splats]')",
        stacklevel=2,
    )
