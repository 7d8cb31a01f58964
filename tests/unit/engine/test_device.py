"""What a run sets on the device it computes on."""

from __future__ import annotations

import resource
import sys

import pytest
import torch

from weft import api, families
from weft.engine import parts as parts_of_a_run
from weft.engine.device import prepare_cpu
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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not glibc's")
def test_large_blocks_that_were_freed_can_be_taken_again_without_a_page_fault() -> None:
    prepare_cpu(None)
    size = 48 << 20

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(size, dtype=torch.uint8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # Not each of them: the C library aligns a block, and the next may not fit where it was.
    assert min(faults() for _ in range(8)) < size // resource.getpagesize() // 10
