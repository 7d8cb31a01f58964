"""What a run sets on the device it computes on."""

from __future__ import annotations

import resource
import subprocess
import sys

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


_TAKING = """
import resource, torch
from weft.engine.device import prepare_cpu
prepare_cpu()
for _ in range(16):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(48 << 20, dtype=torch.uint8)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not glibc's")
def test_large_blocks_that_were_freed_can_be_taken_again_without_a_page_fault() -> None:
    # In a process of its own: what others left in the heap decides where a block fits.
    told = subprocess.run(
        [sys.executable, "-c", _TAKING], capture_output=True, text=True, check=True
    )
    # Not each of them: the C library aligns a block, and the next may not fit where it was.
    assert min(map(int, told.stdout.split())) < (48 << 20) // resource.getpagesize() // 10
