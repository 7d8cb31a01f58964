"""The exact probe beside the published one, on a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft import api
from weft.studies import jepa_probes

SMALL = ("steps=2", "batch_size=4", "norm_batches=1", "val_dataset_size=8", "probe.size=8",
         "model.embedding_size=16", "model.backbone_width_factor=1", "eval.every=2 steps",
         "log.tensorboard=false", "run.dir=one")  # fmt: skip


def test_both_probes_are_compared_on_a_run(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert api.train("jepa/clean", *SMALL, report=False) is not None
    assert jepa_probes.main(["one", "--size", "16", "--epochs", "2"]) == 0
    exact, published, both = capsys.readouterr().out.splitlines()
    assert exact.startswith("closed_form") and published.startswith("published")
    assert "of the published" in both and "times faster" in both
    assert jepa_probes.main(["two"]) == 2
