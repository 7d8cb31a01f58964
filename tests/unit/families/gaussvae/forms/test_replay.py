"""What is recorded on a GPU is done at each call, there and elsewhere."""

from __future__ import annotations

import pytest
import torch

from weft.families.gaussvae.forms.replay import Replay


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_an_action_is_done_once_a_call(kind: str) -> None:
    total = torch.zeros(3, device=kind)
    again = Replay(lambda: total.add_(1), total.device)
    for times in range(1, 8):
        again()
        assert total.tolist() == [times] * 3
    assert (again.graph is not None) == (kind == "cuda")
