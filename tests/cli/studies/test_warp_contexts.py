"""Errors of runs at several lengths of context, beside guesses that learn nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from weft import api
from weft.errors import UsageError
from weft.run.registry import open_run
from weft.studies import warp_contexts

SHORT = {
    "steps": 2, "batch_size": 8, "data.train_size": 40, "data.test_size": 8, "mlp_hidden_size": 3,
    "mlp_depth": 1, "grounding_length": 16, "log.tensorboard": "false", "eval.every": "2 steps",
    "eval.batch_size": 3,
}  # fmt: skip


def train(name: str, **values: object) -> Path:
    words = (f"{key}={value}" for key, value in {"run.dir": name, **SHORT, **values}.items())
    assert api.train("warp/digits", *words, report=False) is not None
    return Path(name)


def test_a_run_s_own_context_gives_its_own_test_metrics(workspace: Path) -> None:
    run = train("one")
    [(kind, context, found), *guessed] = warp_contexts.scores(run)
    test = open_run(run).status["metrics"]
    assert (kind, context) == ("wsm", 16)
    assert found == {key: pytest.approx(test[f"test/{key}"]) for key in ("mse", "bpd")}
    source = open_run(run).load().data.test
    assert source is not None
    x = next(source.batches(8))["x"].double()
    last, mean = x[:, 15:16], x[:, :16].mean(1, keepdim=True)
    wanted = {"last": last, "mean": mean}
    assert [name for name, _, _ in guessed] == list(wanted)
    for name, _, metrics in guessed:
        error = (x[:, 16:] - wanted[name]).square().mean()
        assert metrics["mse"] == pytest.approx(float(error))


def test_what_recurs_is_guessed_from_the_steps_a_period_before() -> None:
    given = torch.tensor([9.0, 1, 2, 3, 3, 4, 5])[None, :, None]
    guessed = dict(warp_contexts.guesses(given, 5, period=3))
    assert guessed["recur"][0, :, 0].tolist() == [2, 3, 4, 2, 3]
    assert guessed["last"].item() == 5 and guessed["mean"].item() == pytest.approx(27 / 7)
    assert "recur" not in dict(warp_contexts.guesses(given, 5, period=8))


@pytest.mark.slow
def test_runs_of_a_kind_are_summed_up(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [train("one"), train("two", seed=1), train("three", model_type="gru")]
    capsys.readouterr()
    assert warp_contexts.main([*map(str, runs), "--contexts", "8", "40"]) == 0
    each, summary = capsys.readouterr().out.strip().split("\n\n")
    assert len(each.splitlines()) == 3 * 2 * 3
    lines = summary.splitlines()
    assert [line.split()[-1] for line in lines] == [*["wsm", "last", "mean"] * 2, "gru", "gru"]
    assert all("L = 8 " in line or "L = 40 " in line for line in lines)
    assert [line.count("±") for line in lines if line.endswith(("wsm", "gru"))] == [2, 2, 0, 0]


@pytest.mark.parametrize("context", [0, 64])
def test_a_context_leaves_something_to_score(workspace: Path, context: int) -> None:
    with pytest.raises(UsageError, match="there are 64"):
        list(warp_contexts.scores(train("one"), [context]))


def test_a_run_without_feedback_or_without_sequences_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = train("label", supervision_task="classification", val_criterion="cce")
    assert warp_contexts.main([str(label)]) == UsageError.exit_code
    assert "completes no sequences" in capsys.readouterr().err
    recall = train("recall", autoregressive_inference="false")
    with pytest.raises(UsageError, match="feeds no predictions back"):
        list(warp_contexts.scores(recall))
