"""Gradients in float32 at the sizes of published runs, against those in float64."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weft.data.random import stream
from weft.families.jepa import objective
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec, load_splits
from weft.families.jepa.model import build_model
from weft.families.jepa.nets import backbone, lines, norm, trunk


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rows"), [("vicreg", 64), ("combo", 64), ("rssm", 64)])
def test_gradients_in_float32_have_five_digits_at_the_sizes_of_published_runs(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same side of every kink: of seven million ReLUs some are nearer than 1e-6 to it, and
    each that changes sides moves the first layer's gradient by 3e-4."""
    config = Config(
        steps=1, batch_size=rows, objective=name, rssm={"compat": True}, norm_batches=1,
        dataset_static_noise=1.0,
    )  # fmt: skip
    source = load_splits(config).train
    given = source.take(source.plan(0, 0)[0], stream(0, 0, "data"))
    torch.manual_seed(0)
    model = build_model(config, data_spec(config))
    noise = torch.randn(2, 17, rows, model.dim)
    sides: list[Tensor] = []

    def remembering(x: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        moments = lines.rectified(x, *args, **options)
        sides.append(x > 0)
        return moments

    def following(x: Tensor, layer: nn.BatchNorm2d, frames: int = 1) -> Tensor:
        return torch.cat([layer(frame) for frame in (x * sides.pop(0)).chunk(frames)])

    for module in (norm, trunk):
        monkeypatch.setattr(module, "rectified", remembering)
    found = []
    for dtype in (torch.float32, torch.float64):
        if dtype == torch.float64:
            assert sides
            monkeypatch.setattr(backbone, "trunk", lambda net, x: (x, net))
            monkeypatch.setattr(norm, "rectified_norm", following)
        monkeypatch.setattr(torch, "randn", lambda *_, d=dtype, **__: noise.to(d))
        form, batch = deepcopy(model).to(dtype), {k: v.to(dtype) for k, v in given.items()}
        objective.loss(form, batch, config, None)[0].backward()
        found.append({n: p.grad.double() for n, p in form.named_parameters() if p.grad is not None})
    assert sides == []
    ours, exact = found
    longest = max(float(gradient.norm()) for gradient in exact.values())
    for parameter, expected in exact.items():
        away = float((ours[parameter] - expected).norm())
        assert away <= 1e-5 * max(float(expected.norm()), 1e-3 * longest), parameter
