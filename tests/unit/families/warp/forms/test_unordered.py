"""A dry run takes all steps at once, and counts the operations that steps in turn would take."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from weft.families.warp.cell.clock import Clock
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.outputs import Head
from weft.families.warp.cell.recurrence_rule import Rule
from weft.families.warp.cell.root import MlpRoot
from weft.families.warp.forms.autoregressive import Form, rollout

N, T, D_IN, WIDTH = 4, 48, 2, 6


def count(device: str, form: Form, *, transition: str = "full", phi: int | None = None) -> int:
    """Operations of a training step in float64, all of which are products torch can count."""
    torch.manual_seed(0)
    layer = Layer(MlpRoot(1, D_IN, WIDTH, 1), Rule(D_IN), transition=transition, initial_layers=phi)
    layer = layer.double().to(device)
    head = Head(D_IN, final=None, uncertain=False, std_lower_bound=0.0, classes=0).to(device)
    x = torch.randn(N, T, D_IN, dtype=torch.float64).to(device)
    force = torch.full((N, T), 0.5, dtype=torch.float64, device=device)
    ticks = Clock(T).ticks(torch.arange(float(T), dtype=torch.float64, device=device))
    with FlopCounterMode(display=False) as counter:
        out, theta = rollout(layer, head, x, force, ticks, form=form)
        (out.sum() + theta.sum()).backward()
    assert out.shape == (N, T, D_IN)
    assert theta.shape == (N, layer.root.size)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("phi", [None, 0])
@pytest.mark.parametrize("form", ["history", "sequential"])
def test_a_dry_run_counts_the_products_of_a_real_one(form: Form, phi: int | None) -> None:
    real, dry = (count(device, form, phi=phi) for device in ("cpu", "meta"))
    assert dry == pytest.approx(real, rel=0.12)


def test_steps_of_a_full_matrix_are_three_products_each() -> None:
    size = MlpRoot(1, D_IN, WIDTH, 1).size
    assert count("meta", "sequential") == pytest.approx(6 * N * T * size * (size + D_IN), rel=0.1)
