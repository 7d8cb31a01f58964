"""Optimisers of pytorch-optimizer behind `optim.kind=extra`."""

from __future__ import annotations

import sys

import pytest
import torch

from weft.config.sections import Extra
from weft.engine.optim import extra
from weft.errors import ConfigError, MissingExtra


def _groups() -> list[dict[str, object]]:
    return [{"params": [torch.nn.Parameter(torch.ones(3))]}]


def test_an_optimiser_of_that_package_takes_rate_and_options() -> None:
    pytest.importorskip("pytorch_optimizer", reason="pytorch-optimizer is not installed")
    built = extra(Extra(name="Lion", lr=0.25, options={"betas": [0.5, 0.75]}), _groups())
    group = built.param_groups[0]
    assert (group["lr"], list(group["betas"])) == (0.25, [0.5, 0.75])
    weight = group["params"][0]
    weight.grad = torch.tensor([2.0, -1.0, 0.0])
    built.step()
    # Lion moves by the sign of the gradient (Chen et al. 2023, algorithm 2).
    assert weight.tolist() == [0.75, 1.25, 1.0]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (Extra(name="lio"), "has no `lio`"),
        (Extra(name="lion", options={"beta": 1}), "has no option `beta`"),
        (Extra(name="lion", options={"betas": [2.0, 3.0]}), "does not take these options"),
        (Extra(name="lomo"), "does not take these options: AttributeError"),
        (Extra(name="alig"), "cannot take a step of this model: NoClosureError"),
        (Extra(name="adahessian"), "cannot take a step of this model: RuntimeError"),
        (Extra(name="spectralsphere"), "cannot take a step of this model: ValueError"),
    ],
)
def test_what_it_does_not_have_is_told(config: Extra, says: str) -> None:
    pytest.importorskip("pytorch_optimizer", reason="pytorch-optimizer is not installed")
    with pytest.raises(ConfigError, match=says):
        extra(config, _groups())


def test_without_the_package_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(MissingExtra) as told:
        extra(Extra(name="lion"), _groups())
    assert "weft[optimisers]" in told.value.hint
