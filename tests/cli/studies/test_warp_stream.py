"""A stream tells at each moment what the whole context up to there would tell."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from weft import api
from weft.errors import DataError, UsageError
from weft.families.warp.model import WarpModel
from weft.families.warp.score.inference import asked
from weft.families.warp.task import WarpTask
from weft.run.named import named
from weft.studies import warp_stream

SHORT = {
    "steps": 2, "batch_size": 8, "data.train_size": 40, "data.test_size": 8, "mlp_hidden_size": 3,
    "mlp_depth": 1, "grounding_length": 24, "log.tensorboard": "false", "eval.every": "2 steps",
    "read": "query", "transition": "modal", "transition_modes": 6, "input_init_std": 0.5,
}  # fmt: skip


def train(name: str, **values: object) -> Path:
    words = (f"{key}={value}" for key, value in {"run.dir": name, **SHORT, **values}.items())
    assert api.train("warp/digits", *words, report=False) is not None
    return Path(name)


def test_each_moment_is_told_from_what_was_read_and_drawn_row_by_row(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train("one")
    loaded = named(run).load()
    model, task = loaded.model, loaded.parts.task
    assert isinstance(model, WarpModel) and isinstance(task, WarpTask)
    x = next(loaded.data.test.batches(3))["x"][2:]
    moments = list(warp_stream.told(model.eval(), x[0].numpy(), 64))
    assert len(moments) == 64
    for count in (1, 17, 63):
        with torch.no_grad():
            whole = asked(model, {"x": x}, count, torch.arange(64)).mean
        assert np.array_equal(moments[count - 1][:count], x[0, :count].numpy())
        np.testing.assert_allclose(moments[count - 1][count:], whole[0, count:], atol=2e-5)

    capsys.readouterr()
    assert warp_stream.main([str(run), "--sequence", "2"]) == 0
    from_test = capsys.readouterr().out
    pictures = from_test.strip("\n").split("\n\n")
    assert len(pictures) == 8 and all(len(each.splitlines()) == 8 for each in pictures)
    assert [each.splitlines()[row].endswith("<") for row, each in enumerate(pictures)] == [True] * 8
    lines = "\n".join(str(float(value)) for value in x[0, :, 0])
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert warp_stream.main([str(run)]) == 0
    assert capsys.readouterr().out == from_test


def test_what_cannot_be_streamed_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train("one")
    assert warp_stream.main([str(run), "--sequence", "8"]) == UsageError.exit_code
    for words, message in (("1 2", "a row of 2 numbers"), ("x", "no row of numbers")):
        monkeypatch.setattr("sys.stdin", io.StringIO(words))
        assert warp_stream.main([str(run)]) == DataError.exit_code
        assert message in capsys.readouterr().err
    fed = train("fed", read="steps", transition="diag")
    assert warp_stream.main([str(fed), "--sequence", "0"]) == UsageError.exit_code
    assert "was not trained to be asked" in capsys.readouterr().err
