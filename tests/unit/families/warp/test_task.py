"""What the task feeds a model, which steps its metrics count, and what it draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from weft.config.sections import Adam
from weft.data.source import Batch
from weft.errors import ConfigError
from weft.families.warp.cell.outputs import Prediction
from weft.families.warp.config import Config
from weft.families.warp.figures import film
from weft.families.warp.options.sections import Reference
from weft.families.warp.score.inference import infer
from weft.families.warp.sets.source import SeriesSource, extremes, identity
from weft.families.warp.task import WarpTask
from weft.families.warp.transition import full
from weft.task.context import Context

SPRINGS = {"dataset": "msd", "sequence_length": 16, "train_size": 20, "test_size": 6}
SMALL = {"mlp_hidden_size": 4, "mlp_depth": 1, "batch_size": 4}


def config(data: dict[str, Any] | None = None, **values: Any) -> Config:
    return Config(**{"steps": 4, "grounding_length": 4, **SMALL, "data": data or SPRINGS, **values})


def loss_of(task: WarpTask, model: Any, batch: Any, ctx: Context) -> Any:
    """The loss of a whole batch, drawn as the loop draws it."""
    return task.loss(model, task.draw(batch, ctx), ctx)


def context(step: int = 0, *, log: bool = True) -> Context:
    return Context(0, step, 10, torch.device("cpu"), log=log)


class Oracle(nn.Module):
    """Puts out whatever `answer` makes of its input, and remembers what it was given."""

    def __init__(self, answer: Any = None, std: float | None = None) -> None:
        super().__init__()
        self.answer, self.std, self.given = answer or (lambda x: x), std, {}

    def forward(self, x: Tensor, **given: Any) -> Prediction:
        self.given = {"x": x, **given}
        out = self.answer(x)
        std = None if self.std is None else torch.full_like(out, self.std)
        return Prediction(out, std, None, torch.zeros(len(x), 1))


def source(x: Tensor, scale: Any = identity, **more: Tensor) -> SeriesSource:
    return SeriesSource({"x": x, **more}, 4, scale(x))


def score(made: WarpTask, model: nn.Module, of: SeriesSource) -> dict[str, float]:
    with torch.no_grad():
        return made.evaluate(model, of, context())


def test_metrics_count_the_steps_that_were_not_given() -> None:
    x = torch.randn(5, 16, 2)
    early = Oracle(lambda x: x + (torch.arange(16) < 4)[:, None])
    metrics = score(WarpTask(config()), early, source(x))
    assert metrics["mse"] == 0
    assert metrics["loss_all_steps"] == pytest.approx(0.5 * 4 / 16)
    late = Oracle(lambda x: x + (torch.arange(16) >= 4)[:, None])
    assert score(WarpTask(config()), late, source(x))["mse"] == pytest.approx(1)


@pytest.mark.parametrize("size", [1, 4, 5, 6])
def test_a_context_that_is_not_used_is_no_better_than_another_sequence_s(size: int) -> None:
    x, batches = torch.randn(6, 16, 2), {"eval": {"batch_size": size}}
    blind = score(WarpTask(config(**batches)), Oracle(lambda x: 0 * x + 0.3), source(x))
    assert blind["shuffled"] == pytest.approx(blind["mse"], rel=1e-5)
    seeing = score(WarpTask(config(**batches)), Oracle(), source(x))
    wanted = (x.roll(1, 0) - x)[:, 4:].square().mean().item()
    assert seeing["mse"] == 0 and seeing["shuffled"] == pytest.approx(wanted, rel=1e-5)


def test_target_next_scores_outputs_against_the_step_after_theirs() -> None:
    x = torch.randn(5, 16, 2)
    ahead = Oracle(lambda x: torch.cat([x[:, 1:], x[:, :1] + 99], 1))
    metrics = score(WarpTask(config(target="next")), ahead, source(x))
    assert metrics["mse"] == 0 and metrics["loss_all_steps"] == 0
    # The first step counted is x_4, which the output of step 3 foretells.
    wrong = Oracle(lambda x: ahead.answer(x) + (torch.arange(16) == 3)[:, None])
    got = score(WarpTask(config(target="next")), wrong, source(x))
    assert got["mse"] == pytest.approx(1 / 12)


def test_the_truth_is_given_for_the_context_only() -> None:
    model = Oracle()
    score(WarpTask(config()), model, source(torch.randn(3, 16, 2)))
    assert model.given["force"].tolist() == [[1.0] * 4 + [0.0] * 12] * 3
    assert model.given["sample"] is None


def test_inference_samples_only_if_it_is_not_smooth() -> None:
    values = {"stochastic": True, "loss": "nll"}
    rough, smooth = Oracle(std=0.5), Oracle(std=0.5)
    of = source(torch.randn(3, 16, 2))
    score(WarpTask(config(**values, smooth_inference=False)), rough, of)
    score(WarpTask(config(**values)), smooth, of)
    assert rough.given["sample"].shape == (3, 16, 2)
    assert smooth.given["sample"] is None


def test_errors_come_in_the_original_unit_too_when_data_were_scaled() -> None:
    x = 10 * torch.rand(5, 16, 2)
    off = Oracle(lambda x: x + 0.1)
    scaled = score(WarpTask(config()), off, source(x, extremes(positive=False)))
    unit = float(((x.amax((0, 1)) - x.amin((0, 1))) / 2).square().mean().sqrt())
    assert scaled["mse"] == pytest.approx(0.01, rel=1e-4)
    assert scaled["rmse_original"] == pytest.approx(0.1 * unit, rel=1e-4)
    assert "mse_original" not in score(WarpTask(config()), off, source(x))


def test_the_streams_of_coin_noise_and_steps_are_independent() -> None:
    x = torch.randn(6, 16, 2)
    base = {"forcing_prob": 0.5}
    plain, thinned, sampled = Oracle(std=1.0), Oracle(std=1.0), Oracle(std=1.0)
    loss_of(WarpTask(config(**base)), plain, {"x": x}, context())
    loss_of(WarpTask(config(**base, nb_recons_loss_steps=3)), thinned, {"x": x}, context())
    loss_of(WarpTask(config(**base, stochastic=True, loss="nll")), sampled, {"x": x}, context())
    assert torch.equal(plain.given["force"], thinned.given["force"])
    assert torch.equal(plain.given["force"], sampled.given["force"])
    loss_of(WarpTask(config(**base)), thinned, {"x": x}, context(step=1))
    assert not torch.equal(plain.given["force"], thinned.given["force"])


def test_times_travel_with_the_steps_that_are_kept() -> None:
    model, x = Oracle(), torch.arange(16.0).view(1, 16, 1).repeat(2, 1, 2)
    length = torch.tensor([16, 10])
    loss_of(WarpTask(config(traj_train_prop=0.5)), model, {"x": x, "length": length}, context())
    position = model.given["position"]
    assert len(position) == 8
    assert torch.equal(model.given["x"][0, :, 0], position)
    assert model.given["length"].tolist() == [8, int((position >= 6).sum())]


def test_the_loss_is_that_of_the_predictions() -> None:
    x = torch.randn(4, 16, 2)
    loss, terms = loss_of(WarpTask(config()), Oracle(lambda x: x + 2), {"x": x}, context())
    assert loss.item() == pytest.approx(2.0)
    assert terms["reconstruction"] is loss


def test_a_target_of_its_own_takes_the_place_of_the_input() -> None:
    x, target = torch.randn(4, 16, 2), torch.randn(4, 16, 2)
    batch = {"x": x, "target": target}
    loss, _ = loss_of(WarpTask(config()), Oracle(lambda _: target), batch, context())
    assert loss == 0


def test_both_tasks_weigh_the_label_by_its_weight() -> None:
    data = {"dataset": "spirals", "train_size": 20, "test_size": 8}
    made = WarpTask(config(data, supervision_task="both", cross_entropy_weight=0.25))
    model = made.model(made.spec())
    batch = made.data().train.take(torch.arange(4), torch.Generator())
    loss, terms = loss_of(made, model, batch, context())
    expected = terms["reconstruction"] + 0.25 * terms["cross_entropy"]
    assert torch.allclose(loss, expected)
    metrics = score(made, model, made.data().test)
    assert {"mse", "accuracy", "f1_score", "cce", "max_theta", "spectral_radius"} <= metrics.keys()


@pytest.mark.parametrize(
    ("values", "headline", "maximise"),
    [
        ({}, "mse", False),
        ({"val_criterion": "mae"}, "mae", False),
        ({"val_criterion": "nll", "loss": "nll"}, "nll", False),
        ({"supervision_task": "classification"}, "error_rate", False),
        ({"supervision_task": "classification", "val_criterion": "f1_score"}, "f1_score", True),
    ],
)
def test_the_criterion_leads_the_headline(
    values: dict[str, Any], headline: str, maximise: bool
) -> None:
    data = {"dataset": "spirals", "train_size": 20, "test_size": 8}
    made = WarpTask(config(data, **values))
    assert made.metrics[0].name == headline
    assert (made.metrics[0].better == "higher") is maximise
    model = made.model(made.spec())
    assert headline in score(made, model, made.data().test)


@pytest.mark.parametrize(("loss", "expected"), [("mse", ("mse",)), ("nll", ("mse", "bpd"))])
def test_bits_are_a_headline_only_of_a_likelihood(loss: str, expected: tuple[str, ...]) -> None:
    names = [metric.name for metric in WarpTask(config(loss=loss)).metrics]
    assert tuple(names[: len(expected)]) == expected


def test_the_entries_of_the_transition_learn_at_a_rate_of_their_own() -> None:
    def rates(**values: Any) -> dict[str, float]:
        made = WarpTask(config(optim=Adam(lr=0.01), **values))
        model = made.model(made.spec())
        names = {parameter: name for name, parameter in model.named_parameters()}
        return {
            names[parameter]: group.get("lr", 0.01)
            for group in made.param_groups(model)
            for parameter in group["params"]
        }

    made = WarpTask(config())
    model = made.model(made.spec())
    size = model.rnn.layers[0].root.size
    (entries,) = (name for name, _ in model.named_parameters() if name.endswith("transition.E"))
    others = {name: 0.01 for name, _ in model.named_parameters() if name != entries}
    assert rates() == others | {entries: pytest.approx(0.01 / size)}
    assert rates(transition_lr=0.5) == others | {entries: pytest.approx(0.005)}
    assert rates(transition="diag").popitem()[1] == pytest.approx(0.01)
    assert set(rates(model_type="gru", rnn_hidden_size=3).values()) == {0.01}


def test_the_original_optimiser_moves_all_parameters_at_one_rate() -> None:
    made = WarpTask(config(optim=Reference(lr=0.01), gradient_lim=1e-7))
    model = made.model(made.spec())
    assert {group.get("lr", 0.01) for group in made.param_groups(model)} == {0.01}


def test_a_dry_run_says_how_it_would_compute_and_what_to_beware_of() -> None:
    made = WarpTask(config(engine={"accumulation": 2}, traj_train_prop=0.5))
    lines = made.notes(made.model(made.spec()), made.spec())
    assert lines[: len(made.config.cautions)] == list(made.config.cautions) != []
    assert any(line.startswith("parameters: root ") for line in lines)
    assert "recurrence: N=2 T=8 " in "\n".join(lines)
    assert any(line.startswith("* ") for line in lines)
    baseline = WarpTask(config(model_type="gru"))
    assert baseline.notes(baseline.model(baseline.spec()), baseline.spec()) == list(
        baseline.config.cautions
    )


@pytest.mark.parametrize("kind", ["gru", "lstm", "linear", "ssm"])
def test_a_baseline_has_as_many_parameters_as_the_model_it_stands_in_for(kind: str) -> None:
    def numbers(**values: Any) -> int:
        made = WarpTask(config(mlp_hidden_size=8, mlp_depth=2, **values))
        return sum(p.numel() for p in made.model(made.spec()).parameters())

    assert numbers(model_type=kind) == pytest.approx(numbers(), rel=0.03)


def test_a_context_that_leaves_nothing_to_score_is_refused() -> None:
    with pytest.raises(ConfigError, match="16 true steps") as caught:
        WarpTask(config(grounding_length=16)).spec()
    assert caught.value.where == "grounding_length"


def test_a_root_with_outputs_that_no_target_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="3 channels"):
        WarpTask(config(root_output_dim=3)).spec()


def test_memory_is_asked_of_the_last_weights_at_every_step() -> None:
    made = WarpTask(config(autoregressive_inference=False))
    model = made.model(made.spec()).eval()
    batch: Batch = {"x": torch.randn(3, 16, 2)}
    with torch.no_grad():
        got = infer(made.config, made.spec(), model, batch, 4)
        whole = model(batch["x"], force=torch.ones(3, 16))
    place = torch.arange(16.0)
    assert torch.allclose(got.theta, whole.theta)
    assert torch.allclose(got.mean[:, 1:-1], model.query(whole.theta, place).mean[:, 1:-1])


def test_a_baseline_has_no_weights_to_recall() -> None:
    with pytest.raises(ValidationError, match="no weights to ask afterwards"):
        config(model_type="gru", autoregressive_inference=False)


@pytest.mark.parametrize("kind", ["wsm", "gru", "linear"])
def test_a_step_without_content_can_be_costed(kind: str) -> None:
    draws = {"forcing_prob": 0.5, "nb_recons_loss_steps": 5, "traj_train_prop": 0.5}
    made = WarpTask(config(model_type=kind, stochastic=True, loss="nll", form="loop", **draws))
    with torch.device("meta"):
        model = made.model(made.spec())
    meta = Context(0, 0, 10, torch.device("meta"), log=False)
    loss, _ = loss_of(made, model, {"x": torch.empty(4, 16, 2, device="meta")}, meta)
    assert loss.is_meta


SERIES = {"forecasts", "error_by_step", "contexts", "film"}
WEIGHTS = {"transition", "drive", "weight_paths"}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, SERIES | WEIGHTS | {"held"}),
        ({"model_type": "lstm", "loss": "nll"}, SERIES),
        ({"target": "next", "input_prev_data": True}, SERIES | WEIGHTS),
        ({"autoregressive_inference": False}, {"forecasts", "error_by_step", "held"} | WEIGHTS),
    ],
)
def test_the_pictures_fit_the_model(
    values: dict[str, Any], names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film, "FRAMES", 3)
    made = WarpTask(config(**values))
    model = made.model(made.spec()).eval()
    with torch.no_grad():
        drawn = list(made.sample(model, made.data(), context()))
    assert {name for name, _, _ in drawn} == names
    assert all(caption for _, caption, _ in drawn)


def test_pixels_are_drawn_as_pictures_at_a_finer_grid_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "FRAMES", 3)
    data = {"dataset": "digits", "downsample_factor": 2, "train_size": 40, "test_size": 9}
    made = WarpTask(config(data, include_canonical_coords=True, loss="nll"))
    model = made.model(made.spec()).eval()
    with torch.no_grad():
        drawn = {name: pic for name, _, pic in made.sample(model, made.data(), context())}
    assert {"completions", "held", "film"} <= drawn.keys()
    assert len(drawn["held"].axes) == 3 * 8  # truth, held, held on a finer grid


def test_classes_are_drawn_over_time() -> None:
    data = {"dataset": "spirals", "train_size": 20, "test_size": 8}
    made = WarpTask(config(data, supervision_task="classification"))
    model = made.model(made.spec()).eval()
    with torch.no_grad():
        names = [name for name, _, _ in made.sample(model, made.data(), context())]
    assert names == ["classes", "transition", "drive", "weight_paths"]


def test_the_radius_of_a_large_matrix_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = WarpTask(config())
    model, data = made.model(made.spec()), made.data()
    assert score(made, model, data.test)["spectral_radius"] == pytest.approx(1.0)
    monkeypatch.setattr(full, "LARGEST_RADIUS", 2)
    assert "spectral_radius" not in score(made, model, data.test)


def test_sampled_inference_repeats_whatever_the_step() -> None:
    made = WarpTask(config(stochastic=True, loss="nll", smooth_inference=False))
    model, data = made.model(made.spec()).eval(), made.data()
    with torch.no_grad():
        once, again = (made.evaluate(model, data.test, context(step)) for step in (0, 7))
    assert once == again
