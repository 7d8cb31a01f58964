"""The benchmark of training steps measures the same nets in all its forms."""

from __future__ import annotations

import pytest
import torch

from weft.families.gaussvae.bench import training
from weft.families.gaussvae.bench.training import training_cases


def test_all_forms_compute_what_the_net_s_layers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [case.name for case in training_cases()] == ["conv1d-32", "resnet-16", "conv1d-32-bf16"]
    monkeypatch.setattr(training, "SPLATS", 16)
    monkeypatch.setattr(training, "LATENTS", 4)
    case = training._case("", "conv1d", 2, torch.device("cpu"), bf16=True)
    flops = {name: form().flops for name, form in case.forms.items()}
    assert list(flops) == ["weft", "floor", "plain", "weft-bf16", "plain-bf16"]
    assert flops["weft"] == flops["weft-bf16"] == flops["floor"]
    assert flops["plain"] == flops["plain-bf16"]
    # Lines of 4 and 8 positions are convolved twice as long by plain layers, with five taps: two
    # results of three taps at each position are 3/5 of that, thrice, and adding up taps is twice a
    # product with a matrix of (5, 6).
    longer = [(4, 64, 32), (8, 32, 16)]
    saved = sum(3 * 2 * 2 * t * i * o * (2 * 5 - 2 * 3) for t, i, o in longer)
    added = sum(2 * 2 * i * o * 5 * 6 for _, i, o in longer)
    assert flops["plain"] - flops["weft"] == saved - added
