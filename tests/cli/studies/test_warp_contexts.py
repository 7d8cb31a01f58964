"""Errors of runs at several lengths of context, beside guesses that learn nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from weft import api
from weft.errors import UsageError
from weft.families.warp.sets.regression import pairs
from weft.run.registry import open_run
from weft.studies import warp_contexts
from weft.studies.warp_guesses import errors, from_pairs, guesses, learnt

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
    scaled = found.pop("bpd_scaled")
    keys = ("mse", "shuffled", "bpd", "coverage")
    assert found == {key: pytest.approx(test[f"test/{key}"]) for key in keys}
    factor = test["val/calibration"]
    nats = math.log(factor) + test["test/calibration"] ** 2 / 2 * (1 / factor**2 - 1)
    assert scaled == pytest.approx(test["test/bpd"] + nats / math.log(2))
    source = open_run(run).load().data.test
    assert source is not None
    x = next(source.batches(8))["x"].double()
    last, mean = x[:, 15:16], x[:, :16].mean(1, keepdim=True)
    wanted = {"last": last, "mean": mean}
    assert [name for name, _, _ in guessed] == [*wanted, "average", "ridge"]
    for name, _, metrics in guessed[:2]:
        error = (x[:, 16:] - wanted[name]).square().mean()
        assert metrics["mse"] == pytest.approx(float(error))


def test_rows_of_a_study_are_shown_by_form_and_point_with_bits_that_validation_scaled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"form": form, "chosen": True, "test/mse": mse, "test/shuffled": 0.5, "test/bpd": 1.0,
         "test/calibration": 2.0, "test/coverage": 0.9, "val/calibration": 2.0}
        for form, mse in (("modes", 0.1), ("modes", 0.3), ("gru", math.nan))
    ]  # fmt: skip
    rows.append(rows[0] | {"grounding_length": "50"})
    lines = [json.dumps(row) for row in [*rows, {"form": "modes", "chosen": False}]]
    (tmp_path / "rows").write_text("\n".join(lines))
    assert warp_contexts.main(["--rows", str(tmp_path / "rows")]) == 0
    modes, gru, further, _ = capsys.readouterr().out.split("\n", 3)
    scaled = 1 + (math.log(2) + 2 * (1 / 4 - 1)) / math.log(2)
    assert modes.startswith("mse 0.2000 ± 0.1000") and modes.endswith("modes")
    assert f"bpd_scaled {scaled:.4f} ± 0.0000" in modes
    assert gru.startswith("mse nan  shuffled")
    assert further.startswith("mse 0.1000") and further.endswith("modes grounding_length=50")
    assert warp_contexts.main([]) == 2


def test_what_recurs_is_guessed_from_the_steps_a_period_before() -> None:
    given = torch.tensor([9.0, 1, 2, 3, 3, 4, 5])[None, :, None]
    guessed = {name: guess.mean for name, guess in guesses(given, 5, period=3)}
    assert guessed["recur"][0, :, 0].tolist() == [2, 3, 4, 2, 3]
    assert guessed["last"].item() == 5 and guessed["mean"].item() == pytest.approx(27 / 7)
    assert "recur" not in dict(guesses(given, 5, period=8))


def test_least_squares_finds_an_affine_law_and_the_average_does_not() -> None:
    torch.manual_seed(0)
    given = torch.randn(300, 6, 1, dtype=torch.float64)
    law = torch.randn(6, 4, dtype=torch.float64)
    noise = 0.1 * torch.randn(300, 4, 1, dtype=torch.float64)
    rest = 0.5 + (given[..., 0] @ law).unsqueeze(-1) + noise
    x = torch.cat([given, rest], 1)
    train, val, test = x[:200], x[200:250], x[250:]
    found = {
        name: errors(guess, test[:, 6:], 1e-3) for name, guess in learnt(train, val, test[:, :6], 6)
    }
    assert found["ridge"]["mse"] == pytest.approx(0.01, rel=0.35)
    # The bits of a normal density with that deviation.
    honest = 0.5 * math.log2(2 * math.pi * math.e * 0.01)
    assert found["ridge"]["bpd"] == pytest.approx(honest, abs=0.2)
    spread = float((test[:, 6:] - train[:, 6:].mean(0)).square().mean())
    assert found["average"]["mse"] == pytest.approx(spread)
    assert "bpd" not in errors(next(learnt(train, None, test[:, :6], 6))[1], test[:, 6:], None)


@pytest.mark.parametrize(("steps", "solved"), [(9, True), (3, False)])
def test_pairs_of_a_linear_law_are_fitted_where_there_are_enough(steps: int, solved: bool) -> None:
    made = {
        name: pairs(400, steps, 4, torch.Generator().manual_seed(seed))
        for seed, name in enumerate(("train", "test"))
    }
    x, train = (made[name]["x"].double() for name in ("test", "train"))
    target, answers = (made[name]["target"].double()[:, -1:] for name in ("test", "train"))
    found = {
        name: errors(guess, target, None)["mse"] for name, guess in from_pairs(x, train, answers)
    }
    assert found["zero"] == pytest.approx(4 / 9, rel=0.2)  # four products of variance 1/9
    assert (found["least squares"] < 1e-8) is solved
    assert found["ridge"] < found["zero"] * (1e-3 if solved else 0.9)


def test_a_run_that_regresses_in_context_stands_beside_least_squares(workspace: Path) -> None:
    words = {"dataset": "icl", "data_dim": 2, "sequence_length": 5}
    run = train("pairs", **{f"data.{k}": v for k, v in words.items()}, autoregressive="false",
                grounding_length=4)  # fmt: skip
    rows = {name: (context, found["mse"]) for name, context, found in warp_contexts.scores(run)}
    assert list(rows) == ["wsm", "zero", "least squares", "ridge"]
    assert {context for context, _ in rows.values()} == {4}
    assert rows["wsm"][1] == pytest.approx(open_run(run).status["metrics"]["test/mse"])
    assert rows["least squares"][1] < 1e-6


@pytest.mark.slow
def test_runs_of_a_kind_are_summed_up(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [train("one"), train("two", seed=1), train("three", model_type="gru")]
    capsys.readouterr()
    assert warp_contexts.main([*map(str, runs), "--contexts", "8", "40"]) == 0
    each, summary = capsys.readouterr().out.strip().split("\n\n")
    assert len(each.splitlines()) == 3 * 2 * 5
    lines = summary.splitlines()
    assert [line.split()[-1] for line in lines] == [
        *["wsm", "last", "mean", "average", "ridge"] * 2,
        "gru",
        "gru",
    ]
    assert all("L = 8 " in line or "L = 40 " in line for line in lines)
    assert [line.count("±") for line in lines if line.endswith(("wsm", "gru"))] == [5, 5, 0, 0]


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
