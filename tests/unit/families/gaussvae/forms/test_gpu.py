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
from weft.families.gaussvae.forms.gpu import by_triton
from weft.families.gaussvae.splats.geometry import Frame, ellipses

given = torch.rand(2, 4, 8, generator=torch.Generator().manual_seed(0))
given[..., 2] *= 3
for cut in (3.5, math.inf):
    for normalised in (True, False):
        frame = Frame(0, 9, 19, 9, 19, 0.5, cut, normalised, topk=0)
        found = []
        for kind, drawn in ((torch.float64, reference.blend), (torch.float32, by_triton)):
            free = given.to(kind, copy=True).requires_grad_()
            picture = drawn(ellipses(free, frame), frame)
            (picture * torch.linspace(-1, 1, 19)).sum().backward()
            found.append((picture.detach().double(), free.grad.double()))
        (exact, slope), (near, pulled) = found
        assert (near - exact).abs().max() < 1e-5
        assert (pulled - slope).norm() < 1e-4 * slope.norm()
"""


@pytest.mark.slow
def test_triton_s_interpreter_draws_what_the_reference_draws() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, timeout=300)
