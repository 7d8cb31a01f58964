"""What a run of each stage takes over from its base, keeps, shows and answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.stops import stop_at
from tests.unit.families.feedback.tiny import COMPAT, FEEDBACK, TINY, train
from weft import api, families
from weft.cli import main
from weft.engine.parts import Parts
from weft.errors import ConfigError, Interrupted
from weft.run.registry import Run

pytestmark = pytest.mark.usefixtures("kept_texts")


@pytest.fixture(scope="module")
def base(kept_texts: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained base model, which no test changes."""
    return train(**{"run.dir": str(tmp_path_factory.mktemp("base") / "run")})


@pytest.fixture(scope="module")
def child(base: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained feedback model of it, evaluated twice, whose weights no test changes."""
    place = tmp_path_factory.mktemp("child") / "run"
    words = (*FEEDBACK, f"base={base.path}", "eval.every=2 steps")
    return train(*words, **{"run.dir": str(place)})


def test_every_block_is_a_unit_but_where_errors_are_read_as_a_gradient(base: Run) -> None:
    words = (*TINY, *FEEDBACK, f"base={base.path}", "extra_layers=1")
    for more, count in (("feedback_error=none", 7), ("feedback_error=gradient", 0)):
        parts = Parts.of(families.find("feedback"), api.configure(*words, more).config)
        assert len(parts.task.units(parts.model())) == count


def weights(run: Run) -> dict[str, Tensor]:
    return run.load_model("last").state_dict()


def test_a_stable_feedback_model_starts_at_exactly_the_loss_of_its_base(
    base: Run, workspace: Path
) -> None:
    run = train(*FEEDBACK, f"base={base.path}", "optim.lr=1e-30")
    assert run.metrics["val/base_loss"] == pytest.approx(base.metrics["val/loss"], rel=1e-6)
    assert run.metrics["val/gain"] == pytest.approx(0.0, abs=1e-6)
    assert run.metrics["val/input_gain"] == pytest.approx(0.0, abs=1e-6)


def test_feedforward_weights_are_untouched_by_feedback_training(
    base: Run, child: Run, workspace: Path
) -> None:
    before = weights(base)
    runs = {"stable": child}
    for name, words in (("compat", COMPAT), ("static", ("stage=static", "lora_rank=2"))):
        runs[name] = train(*words, f"base={base.path}", f"run.name={name}")
    for name, run in runs.items():
        after = weights(run)
        assert all(torch.equal(after[key], before[key]) for key in before), name
        assert run.metrics["val/gain"] != 0.0


def test_fine_tuning_attention_changes_q_k_v_o_and_keeps_the_base_beside(
    base: Run, workspace: Path
) -> None:
    before = weights(base)
    run = train("stage=fine_tune", f"base={base.path}", "run.name=tuned")
    after = weights(run)
    changed = {key for key in before if not torch.equal(after[key], before[key])}
    assert changed == {f"base.blocks.{n}.{part}" for n in range(2) for part in ("qkv", "out")}
    for key in before:
        assert torch.equal(after[key.replace("base.", "origin.", 1)], before[key])
    assert run.metrics["val/base_loss"] == pytest.approx(base.metrics["val/loss"], rel=1e-6)
    assert run.metrics["val/loss"] < run.metrics["val/base_loss"]


def test_a_fine_tuned_run_can_be_a_base_and_its_base_is_then_the_tuned_one(
    base: Run, workspace: Path
) -> None:
    tuned = train("stage=fine_tune", f"base={base.path}", "run.name=tuned")
    run = train(*FEEDBACK, f"base={tuned.path}", "run.name=child")
    assert run.metrics["val/base_loss"] == pytest.approx(tuned.metrics["val/loss"], rel=1e-6)


def test_joint_training_moves_both_and_compares_with_the_frozen_base(
    base: Run, workspace: Path
) -> None:
    run = train(*FEEDBACK, "joint=true", "scope=all", f"base={base.path}", "run.name=joint")
    after, before = weights(run), weights(base)
    assert not torch.equal(after["base.table"], before["base.table"])
    assert torch.equal(after["origin.table"], before["base.table"])
    assert run.metrics["val/base_loss"] == pytest.approx(base.metrics["val/loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("child", "words"),
    [
        ("model.n_head=1", ("attention heads", "1")),
        ("data.tokenizer=bpe", ("tokens", "bpe 384", "bytes")),
        ("model.n_embd=32", ("do not fit", "base.table")),
    ],
)
def test_a_base_that_does_not_fit_is_refused_by_name(
    child: str, words: tuple[str, ...], base: Run, workspace: Path
) -> None:
    if "bpe" in child:
        pytest.importorskip("tokenizers")
    with pytest.raises(ConfigError) as caught:
        train(*FEEDBACK, child, "data.vocab_size=384", f"base={base.path}", "run.name=child")
    for word in words:
        assert word in str(caught.value)
    assert not (workspace / "runs/feedback/child").exists()


def test_weights_that_work_with_deltas_are_no_base(child: Run, workspace: Path) -> None:
    with pytest.raises(ConfigError, match="stage feedback"):
        train(*FEEDBACK, f"base={child.path}", "run.name=grandchild")


@pytest.mark.parametrize(
    "words",
    [(*FEEDBACK, "self_condition=true"), pytest.param(FEEDBACK, marks=pytest.mark.slow)],
    ids=["self-condition", "plain"],
)
def test_stop_and_resume_equals_straight_run(
    words: tuple[str, ...], base: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*words, f"base={base.path}", "model.dropout=0.1")
    straight = train(*words, "run.name=straight")
    stop_at(monkeypatch, 1)
    with pytest.raises(Interrupted):
        train(*words, **{"run.dir": "stopped"})
    resumed = api.resume("stopped", report=False)
    assert resumed is not None
    after = weights(resumed)
    for name, tensor in weights(straight).items():
        assert torch.equal(tensor, after[name]), name
    assert resumed.metrics == straight.metrics


def test_figures_show_texts_levels_deltas_and_the_bound(child: Run) -> None:
    drawn = {path.name for path in api.sample(child.path)}
    assert drawn == {"texts.txt", "levels.png", "deltas.png"}
    page = api.report(child.path).read_text()
    assert "NELBO a real token" in page
    told = (child.path / "figures/texts.txt").read_text()
    assert told.count("[given]") == told.count("[model]") == told.count("[base]") == 3
    assert "<pre" in page and "[given]" in page


def test_the_log_has_a_completed_text_at_each_evaluation(
    base: Run, child: Run, workspace: Path
) -> None:
    told = (child.path / "log.txt").read_text()
    assert told.count("  given: ") == told.count("  model: ") == told.count("  base: ") == 2
    silent = train(*FEEDBACK, f"base={base.path}", "eval.every=2 steps", "eval.texts=0")
    assert "  given: " not in (silent.path / "log.txt").read_text()
    assert silent.metrics == child.metrics


def test_a_model_goes_on_with_prompts_as_it_is_asked(
    child: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sample", str(child.path), "--prompt", "Ich", "--prompt", "", "--length", "9"]
    chance = ["--temperature", "1", "--top-p", "0.9", "--remask", "random", "--block", "4"]
    outputs = []
    for more in ([], ["--steps", "1"], chance, chance):
        assert main([*words, *more, "--json"]) == 0
        outputs.append(json.loads(capsys.readouterr().out)["texts"])
        assert [text["prompt"] for text in outputs[-1]] == ["Ich", ""]
        assert all(list(text["endings"]) == ["model", "base"] for text in outputs[-1])
    assert outputs[2] == outputs[3] != outputs[0]
    ending = outputs[3][0]["endings"]["model"]
    kept = (child.path / "samples.txt").read_bytes().decode()  # Endings of lines may be written.
    assert f"[model] Ich{ending}\n" in kept


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--prompt", "x", "--length", "32"), "32 tokens in all (data.block_size), not 33"),
        (("--prompt", "x" * 32), "not 33"),
        (("--length", "3"), "--prompt TEXT"),
        (("--prompt", "x", "--length", "3", "--top-p", "0.5"), "a temperature above 0"),
    ],
)
def test_a_text_that_cannot_be_is_refused(
    words: tuple[str, ...], says: str, base: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(base.path), *words]) == 2
    assert says in capsys.readouterr().err
