"""The form for GPUs computes what the reference does, in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import math
import torch
from weft.families.gaussvae import reference
from weft.families.gaussvae.forms import gpu
from weft.families.gaussvae.splats.geometry import Frame, ellipses, to_rs

def drawn(splats, frame):
    return reference.blend(ellipses(splats, frame), frame)

gpu._SOUGHT, gpu._PAINTED = 4, 2  # several rounds
given = torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(0))
given[..., 2] *= 3
given[..., 3:5] -= 0.5
given[0, 0, 3:5] = 0
given[0, 1, 3:5] = 3.5  # beyond the border of (a, b), and below that of m
given[0, 2, 2] = -7
for layout, cut, normalised in ((0, 3.5, True), (0, math.inf, False), (1, 3.5, False)):
    frame = Frame(layout, 9, 19, 5, 23, 0.5, cut, normalised, topk=0)
    found = []
    for kind, form in ((torch.float64, drawn), (torch.float32, gpu.by_triton)):
        free = (to_rs(given) if layout else given).to(kind, copy=True).requires_grad_()
        picture = form(free, frame)
        # A slope that does not lie in memory as the picture does.
        pull = torch.linspace(-1, 1, 9 * 19 * 3).view(19, 9, 3).permute(2, 1, 0)
        (picture * pull).sum().backward()
        found.append((picture.detach().double(), free.grad.double()))
    (exact, slope), (near, pulled) = found
    assert (near - exact).abs().max() < 1e-5 * exact.abs().max()
    assert ((pulled - slope).norm(dim=(0, 1)) < 1e-4 * slope.norm(dim=(0, 1))).all()
"""


@pytest.mark.slow
def test_triton_s_interpreter_draws_what_the_reference_draws() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, timeout=300)
