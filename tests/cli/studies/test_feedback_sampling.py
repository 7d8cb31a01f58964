"""Ways of unmasking are compared on a run, by another run."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft import api
from weft.studies import feedback_sampling
from weft.studies.feedback_sampling import WAYS

SMALL = ("feedback/text", "model.n_layer=1", "model.n_head=1", "model.n_embd=8", "steps=2",
         "data.block_size=32", "eval.chunks=2", "eval.levels=1",
         "log.tensorboard=false")  # fmt: skip


@pytest.mark.slow
def test_ways_are_timed_and_judged_and_the_true_text_last(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_sampling, "WAYS", WAYS[:1] + WAYS[-4:-2])
    for seed in (0, 1):
        assert api.train(*SMALL, f"seed={seed}", f"run.dir=run{seed}", report=False) is not None
    assert feedback_sampling.main(["run0", "--judge", "run1", "--texts", "2", "--levels", "1"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    names = [row[0] for row in rows]
    assert names == ["| steps 4", "| temperature 1.0, top_p 0.9", "| remask random", "| true text"]
    assert all(float(row[1]) > 0 for row in rows[:-1])
    # A model that has learnt nothing takes every id of a text for about as likely.
    assert all(3 < float(row[3].split(" ± ")[0]) < 9 for row in rows)
    assert feedback_sampling.main(["run0", "--judge", "run2"]) == 2
