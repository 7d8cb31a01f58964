"""A root read by query: what it may look at, what counts, and who else can be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from weft.data.source import Field
from weft.errors import ConfigError, DataError
from weft.families.warp import reference
from weft.families.warp.baselines.direct import Direct
from weft.families.warp.config import Config
from weft.families.warp.figures import film
from weft.families.warp.model import Model, WarpModel
from weft.families.warp.score.inference import infer
from weft.families.warp.task import WarpTask
from weft.task.context import Context

DIGITS = {"dataset": "digits", "downsample_factor": 2, "train_size": 40, "test_size": 9}
SPRINGS = {"dataset": "msd", "sequence_length": 16, "train_size": 20, "test_size": 6}
SMALL = {"mlp_hidden_size": 4, "mlp_depth": 1, "batch_size": 4, "steps": 4, "grounding_length": 5}
QUERY = {"read": "query", "transition": "modal", "transition_modes": 6, "input_init_std": 0.5}
KINDS = ("wsm", "gru", "lstm", "linear", "ssm", "mlp", "dlinear")


def task(**values: Any) -> WarpTask:
    return WarpTask(Config(**{**SMALL, "data": DIGITS, **QUERY, **values}))


def context(device: str = "cpu") -> Context:
    return Context(0, 0, 10, torch.device(device))


def built(made: WarpTask) -> Model:
    torch.manual_seed(0)
    return made.model(made.spec()).eval()


def batch(made: WarpTask) -> dict[str, Tensor]:
    return made.data().train.take(torch.arange(4), torch.Generator())


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_beyond_the_context_is_looked_at(kind: str) -> None:
    made = task(model_type=kind, rnn_hidden_size=5)
    model, given = built(made), {"x": torch.randn(4, 16, 1)}
    changed = {"x": torch.cat([given["x"][:, :5], torch.randn(4, 11, 1)], 1)}
    with torch.no_grad():
        means = [infer(made.config, made.spec(), model, of, 5).mean for of in (given, changed)]
        other = infer(made.config, made.spec(), model, {"x": -given["x"]}, 5).mean
    assert means[0].shape == (4, 16, 1)
    torch.testing.assert_close(*means)
    assert not torch.allclose(means[0], other)


def test_every_place_is_asked_of_the_weights_after_the_context() -> None:
    made = task(include_canonical_coords=True, coordinate_waves=2)
    model, x = built(made), batch(made)["x"]
    assert isinstance(model, WarpModel)
    (layer,) = model.rnn.layers
    loop = reference.free([layer], x[:, :5], model.rnn.ticks(x[:, :5]))
    place = torch.arange(16)
    with torch.no_grad():
        got = infer(made.config, made.spec(), model, {"x": x}, 5).mean
        tau = model.rnn.clock.read(place.float())
        raw = torch.stack([layer.root(loop.theta[0], z.expand(4, -1)) for z in tau], 1)
    assert tau.shape == (16, 3 + 8)
    torch.testing.assert_close(got, model.rnn.head(raw))


@pytest.mark.parametrize("period", [1, 2, 5])
def test_what_is_told_is_relative_to_what_recurs_in_the_context(period: int) -> None:
    made = task(relative_period=period)
    model, x = built(made), torch.randn(4, 16, 1)
    usual = torch.stack(
        [x[:, [k for k in range(5 % period, 5) if (k - phase) % period == 0]].mean(1)
         for phase in range(period)], 1,
    )[:, torch.arange(16) % period]  # fmt: skip
    with torch.no_grad():
        got = infer(made.config, made.spec(), model, {"x": x}, 5).mean
        theta = model((x - usual)[:, :5], last=True).theta
        wanted = model.query(theta, torch.arange(16)).mean + usual
        torch.testing.assert_close(got, wanted)
        own = infer(made.config, made.spec(), model, {"x": x}, torch.tensor([5, 5, 5, 5])).mean
    torch.testing.assert_close(own, wanted)


@pytest.mark.parametrize("kind", ["wsm", "gru"])
def test_a_patch_is_read_as_one_step_that_ends_where_its_last_datum_lies(kind: str) -> None:
    made = task(model_type=kind, rnn_hidden_size=3, patch=2)
    model, x = built(made), torch.randn(4, 16, 1)
    # Five steps given: the first patch is filled up with the first datum.
    read = torch.stack([x[:, [0, 0], 0], x[:, 1:3, 0], x[:, 3:5, 0]], 1)
    with torch.no_grad():
        got = infer(made.config, made.spec(), model, {"x": x}, 5).mean
        theta = model(read, position=torch.tensor([0.0, 2.0, 4.0]), last=True).theta
        torch.testing.assert_close(got, model.query(theta, torch.arange(16)).mean)
    loss, _ = made.loss(model, {"x": x}, context())
    loss.backward()


def test_contexts_of_their_own_are_those_of_equal_contexts() -> None:
    made = task()
    model, x = built(made), batch(made)["x"]
    with torch.no_grad():
        own = infer(made.config, made.spec(), model, {"x": x}, torch.tensor([3, 7, 3, 5])).mean
        for row, length in enumerate((3, 7, 3, 5)):
            one = infer(made.config, made.spec(), model, {"x": x}, length).mean
            torch.testing.assert_close(own[row], one[row])


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_counts_the_places_that_were_not_given(kind: str) -> None:
    made = task(model_type=kind, loss="nll")
    model, given = built(made), batch(made)
    loss, _ = made.loss(model, made.draw(given, context()), context())
    said = infer(made.config, made.spec(), model, given, 5)
    error = (said.mean - given["x"])[:, 5:] / said.std[:, 5:]
    wanted = (said.std[:, 5:].log() + error.square() / 2).mean()
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


def test_drawn_places_lie_beyond_the_context_too() -> None:
    made = task(nb_recons_loss_steps=3)
    model, given = built(made), batch(made)
    drawn = made.draw(given, context())
    assert drawn["loss_steps"].shape == (4, 3) and drawn["loss_steps"].max() < 11
    loss, _ = made.loss(model, drawn, context())
    said = infer(made.config, made.spec(), model, given, 5).mean
    errors = (said - given["x"])[:, 5:, 0].gather(1, drawn["loss_steps"])
    torch.testing.assert_close(loss, 0.5 * errors.square().mean())


@pytest.mark.parametrize("values", [{}, {"read": "steps"}])
def test_noise_is_on_what_is_read_and_not_on_what_is_told(values: dict[str, Any]) -> None:
    made = task(input_noise=0.5, **values)
    given = batch(made)
    drawn = made.draw(given, context())
    assert torch.equal(drawn["target"], given["x"])
    noise = drawn["x"] - given["x"]
    assert float(noise.std()) == pytest.approx(0.5, rel=0.3)
    assert torch.equal(made.draw(given, context())["x"], drawn["x"])


@pytest.mark.parametrize("target", ["same", "next"])
def test_grounded_training_feeds_and_counts_what_inference_does(target: str) -> None:
    made = task(read="steps", train_strategy="grounded", target=target)
    model, given = built(made), batch(made)
    drawn = made.draw(given, context())
    assert drawn["force"].tolist() == [[1.0] * 5 + [0.0] * 11] * 4
    loss, _ = made.loss(model, drawn, context())
    with torch.no_grad():
        metrics = made.evaluate(model, made.data().train, context())
        few = made.data().train
    said = infer(made.config, made.spec(), model, given, 5).mean
    late = target == "next"
    errors = (said[:, 5 - late : 16 - late] - given["x"][:, 5:]).square()
    torch.testing.assert_close(loss, 0.5 * errors.mean())
    assert len(few) == 36 and metrics["mse"] > 0


def test_sequences_of_several_lengths_have_no_common_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = task().spec()
    ragged = replace(spec, fields=spec.fields | {"length": Field((), torch.int64)})
    monkeypatch.setattr("weft.families.warp.task.data_spec", lambda _: ragged)
    for values in ({}, {"read": "steps", "train_strategy": "grounded"}):
        with pytest.raises(ConfigError, match="lengths of their own"):
            task(**values).spec()


def test_an_input_that_is_no_target_is_read_whole() -> None:
    made = task(data={"dataset": "icl", "train_size": 20, "test_size": 8, "data_dim": 2})
    model, given, last = built(made), batch(made), made.spec().steps - 1
    loss, _ = made.loss(model, made.draw(given, context()), context())
    with torch.no_grad():
        said = infer(made.config, made.spec(), model, given, last).mean
        query = given["x"].clone()
        query[:, -1] += 1
        other = infer(made.config, made.spec(), model, given | {"x": query}, last).mean
    assert said.shape == given["target"].shape and not torch.equal(said, other)
    error = (said - given["target"])[:, last:]
    torch.testing.assert_close(loss, 0.5 * error.square().mean())


@pytest.mark.parametrize("kind", ["wsm", "gru", "mlp"])
def test_a_step_without_content_can_be_costed(kind: str) -> None:
    made = task(model_type=kind)
    with torch.device("meta"):
        model = made.model(made.spec())
    empty = {"x": torch.empty(4, 16, 1, device="meta")}
    loss, _ = made.loss(model, made.draw(empty, context("meta")), context("meta"))
    assert loss.is_meta


@pytest.mark.parametrize("kind", ["gru", "mlp"])
def test_a_rival_has_as_many_parameters(kind: str) -> None:
    def numbers(**values: Any) -> int:
        made = task(mlp_hidden_size=8, mlp_depth=2, transition_modes=32, **values)
        return sum(p.numel() for p in built(made).parameters())

    assert numbers(model_type=kind) == pytest.approx(numbers(), rel=0.06)


def test_a_perceptron_refuses_what_it_was_not_made_for() -> None:
    model = built(task(model_type="mlp"))
    assert isinstance(model, Direct)
    with pytest.raises(DataError, match="made for 5 steps"):
        model(torch.randn(2, 6, 1), last=True)
    with pytest.raises(DataError, match="takes nothing beside"):
        model(torch.randn(2, 5, 1), force=torch.ones(2, 5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input_prev_data": True}, "knows no `input_prev_data`"),
        ({"output_smoothing": True}, "knows no `output_smoothing`"),
        ({"traj_train_prop": 0.5}, "knows no `traj_train_prop`"),
        ({"target": "next"}, "knows no `target`"),
        ({"supervision_task": "both"}, "knows no `supervision_task`"),
        ({"stochastic": True, "loss": "nll"}, "needs a reconstruction that feeds back"),
        ({"read": "steps", "model_type": "mlp"}, "has no steps"),
        ({"read": "steps", "train_strategy": "grounded", "traj_train_prop": 0.5}, "counts steps"),
        ({"read": "steps", "relative_period": 2}, "only a query waits for"),
        ({"relative_period": 6}, "longer than the context"),
        ({"model_type": "dlinear", "conv_embedding": [2, 3, 1]}, "has no `conv_embedding`"),
        ({"model_type": "dlinear", "patch": 2}, "joins steps"),
        ({"read": "steps", "patch": 2}, "joins steps"),
        ({"coordinate_waves": 2}, "coordinates that the root does not see"),
        ({"transition_init": "identity"}, "cannot be the identity"),
        ({"weights_lim": 0.5}, "clips none"),
    ],
)
def test_what_a_query_cannot_have_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        task(**values)


@pytest.mark.slow
def test_a_query_is_drawn_like_a_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "FRAMES", 3)
    made = task(include_canonical_coords=True, loss="nll")
    with torch.no_grad():
        drawn = {name for name, _, _ in made.sample(built(made), made.data(), context())}
    weights = {"transition", "drive", "weight_paths"}
    assert drawn == {"completions", "error_by_step", "contexts", "film", "held"} | weights


def test_a_start_with_a_memory_is_that_of_the_context() -> None:
    values = {"transition": "cdiag", "mlp_hidden_size": 64}
    rates = [
        built(task(grounding_length=length, **values)).rnn.layers[0].transition.rate
        for length in (5, 15)
    ]
    longest = [float(torch.exp(-rate).max().detach()) for rate in rates]
    assert longest == [pytest.approx(15, rel=0.1), pytest.approx(45, rel=0.1)]


def test_what_is_remembered_does_not_decay_with_the_weights() -> None:
    made = task()
    model = built(made)
    groups = list(made.param_groups(model))
    assert [group.get("weight_decay") for group in groups] == [None, 0.0]
    plain = task(transition="diag")
    assert all("weight_decay" not in group for group in plain.param_groups(built(plain)))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["wsm", "gru", "mlp"])
def test_a_gpu_reads_and_tells_what_a_cpu_does(kind: str) -> None:
    made = task(model_type=kind, include_canonical_coords=True, coordinate_waves=2)
    model, x = built(made).train(), torch.randn(4, 16, 1)  # cuDNN's way back wants training
    values = {}
    for device in ("cpu", "cuda"):
        model, given = model.to(device), {"x": x.to(device)}
        model.zero_grad()
        loss, _ = made.loss(model, given, context(device))
        loss.backward()
        slopes = [p.grad.cpu().flatten() for p in model.parameters() if p.grad is not None]
        values[device] = torch.cat([loss.detach().cpu().view(1), *slopes])
    torch.testing.assert_close(values["cuda"], values["cpu"], rtol=1e-3, atol=1e-5)
