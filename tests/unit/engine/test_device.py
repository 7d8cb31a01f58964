"""What a run sets on the device it computes on."""

from __future__ import annotations

import pytest
import torch

from weft import api, families
from weft.engine import parts as parts_of_a_run
from weft.engine.parts import Parts


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_runs_on_a_card_keep_attention_from_cudnn(
    toy: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_of_a_run, "choose_device", lambda _: torch.device(kind))
    torch.backends.cuda.enable_cudnn_sdp(True)
    try:
        Parts.of(families.find("toy"), api.configure(toy).config)
        assert torch.backends.cuda.cudnn_sdp_enabled() == (kind == "cpu")
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)
