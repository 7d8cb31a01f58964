"""What a run from pixels tells of its rate."""

from __future__ import annotations

import pytest
import torch

from tests.unit.families.gaussvae.pictures.test_picture_task import made
from weft.data.source import TensorSource
from weft.families.gaussvae.pictures.held_out import measured


@pytest.mark.parametrize("refine", [0, 3])
def test_where_latents_are_sampled_a_run_tells_the_bits_of_what_it_decodes(refine: int) -> None:
    words = ("beta.max=0.1", "render.form=gemm", f"picture.refine={refine}", "monitor=psnr")
    task, model, batch, _ = made(*words)
    source = TensorSource({"image": batch["image"]}, len(batch["image"]))
    model.eval()
    with torch.no_grad():
        found = measured(task.config, model, source)
        # A posterior so wide that a step holds all latents leaves next to no bits, and no picture.
        model.encoder.linear.bias[4:] = 6.0
        blurred = measured(task.config, model, source)
    near = found["psnr_refined" if refine else "psnr"]
    assert near - 6 < found["psnr_coded"] < near + 0.5
    assert found["bits"] > 4 > blurred["bits"]
    assert blurred["psnr_coded"] < found["psnr_coded"]


def test_without_a_price_on_bits_there_is_nothing_to_quantise_by() -> None:
    task, model, batch, _ = made("beta.max=0", "render.form=gemm")
    source = TensorSource({"image": batch["image"]}, len(batch["image"]))
    with torch.no_grad():
        found = measured(task.config, model.eval(), source)
    assert "psnr" in found and not {"bits", "psnr_coded"} & found.keys()
