"""The network as a module: its shapes, its forms, its parts in a config, and its refusals."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from weft.data.source import Field
from weft.errors import ConfigError, DataError
from weft.families.warp import WeightSpaceRNN
from weft.families.warp.cell.drive import valid_steps
from weft.families.warp.cell.root import MlpRoot
from weft.families.warp.config import Config
from weft.families.warp.model import WarpModel, build_model
from weft.families.warp.sets.source import SeriesSpec
from weft.families.warp.transition.block import Block

N, T, D_IN = 3, 11, 2
EXACT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def _moved(rnn: WeightSpaceRNN) -> WeightSpaceRNN:
    """The network with a transition and a drive away from where they start."""
    with torch.no_grad():
        for layer in rnn.layers:
            layer.B.normal_(std=0.3)
            for parameter in layer.transition.parameters():
                parameter.normal_(std=0.1 / parameter.shape[-1] ** 0.5)
    return rnn


def _small(**options: Any) -> WeightSpaceRNN:
    options = {"width": 4, "depth": 1, "nonlinearity": "tanh", "final": "tanh"} | options
    return _moved(WeightSpaceRNN(D_IN, **{"time_as_channel": True} | options))


def _results(rnn: WeightSpaceRNN, x: Tensor, **inputs: Any) -> list[Tensor]:
    """Outputs, last weights and all gradients of a random loss of both; no output in padding."""
    x = x.clone().requires_grad_()
    out, state = rnn(x, **inputs)
    theta = state.theta
    valid = valid_steps(inputs.get("length"), T)
    if valid is not None:
        out = out * valid[:, -out.shape[1] :, None]
    torch.manual_seed(5)
    loss = (out * torch.randn(out.shape)).sum() + (theta * torch.randn(theta.shape)).sum()
    parameters = list(rnn.parameters())
    grads = torch.autograd.grad(loss, [x, *parameters], allow_unused=True)
    pairs = zip(grads, [x, *parameters], strict=True)
    return [out, theta, *(torch.zeros_like(p) if g is None else g for g, p in pairs)]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"transition": "diag", "input_prev_data": True},
    {"transition": "block:5", "second_order": True},
    {"transition": "lowrank:2", "initial_layers": 1},
    {"limit": 0.4, "initial_layers": 0, "drive": "innovation"},
    {"second_order": True, "limit": 0.3, "drive": "true_diff"},
    {"inner_sizes": [3], "input_prev_data": True, "initial_layers": 0},
    {"final": [2.0, 0.0, 1.5, 0.1], "uncertain": True, "std_lower_bound": 0.5, "classes": 3},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_the_form_that_is_chosen_gives_what_the_loop_gives(
    options: dict[str, Any], feedback: bool, ragged: bool, last: bool
) -> None:
    rnn, x = _small(**options), torch.randn(N, T, D_IN)
    inputs: dict[str, Any] = {"last": last}
    if ragged:
        inputs["length"] = torch.tensor([T, 4, 1])
    if feedback:
        inputs["force"] = (torch.rand(N, T) < 0.5).double()
        if rnn.head.uncertain:
            inputs["sample"] = torch.randn(N, T, D_IN)
    fast = _results(rnn, x, **inputs)
    rnn.form = "loop"
    for ours, theirs in zip(fast, _results(rnn, x, **inputs), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize(
    ("form", "options", "inputs"),
    [
        ("last_state", {}, {"last": True}),
        ("chunked", {"initial_layers": 0}, {"last": True}),
        ("history", {}, {}),
        ("history", {}, {"force": torch.rand(N, T) < 0.5}),
        ("scan", {"transition": "diag"}, {}),
        ("sequential", {"limit": 0.4}, {}),
        ("sequential", {"limit": 0.4}, {"force": torch.rand(N, T) < 0.5}),
    ],
)
def test_a_form_asked_for_gives_what_the_loop_gives(
    form: str, options: dict[str, Any], inputs: dict[str, Any]
) -> None:
    rnn, x = _small(form=form, **options), torch.randn(N, T, D_IN)
    inputs = {k: v.double() if isinstance(v, Tensor) else v for k, v in inputs.items()}
    fast = _results(rnn, x, **inputs)
    rnn.form = "loop"
    for ours, theirs in zip(fast, _results(rnn, x, **inputs), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_a_form_that_cannot_train_is_refused_and_inference_picks_its_own() -> None:
    rnn, x = _small(form="last_state"), torch.randn(N, T, D_IN)
    with pytest.raises(ConfigError, match="needs the last step only"):
        rnn(x)
    assert rnn.eval()(x)[0].shape == (N, T, D_IN)


@pytest.mark.parametrize("feedback", [False, True])
def test_weights_that_start_on_their_bound_get_the_gradient_of_the_loop(feedback: bool) -> None:
    rnn = WeightSpaceRNN(D_IN, width=4, depth=1, limit=0.2)
    x = torch.randn(N, T, D_IN)
    inputs = {"force": torch.ones(N, T)} if feedback else {}
    fast = _results(rnn, x, **inputs)
    rnn.form = "loop"
    for ours, theirs in zip(fast, _results(rnn, x, **inputs), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_it_is_used_like_a_gru() -> None:
    rnn = WeightSpaceRNN(D_IN, 5)
    out, state = rnn(torch.randn(N, T, D_IN))
    assert out.shape == (N, T, 5)
    assert state.theta.shape == (N, rnn.layers[0].root.size)
    only, same = rnn(torch.randn(N, T, D_IN), last=True)
    assert only.shape == (N, 1, 5) and same.theta.shape == state.theta.shape


def test_it_can_be_copied_and_pickled() -> None:
    rnn, x = _small(), torch.randn(N, T, D_IN)
    for twin in (copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert torch.equal(twin(x)[0], rnn(x)[0])


@pytest.mark.parametrize("form", ["auto", "loop"])
@pytest.mark.parametrize("feedback", [False, True])
def test_autocast_does_not_round_the_recurrence(form: str, feedback: bool) -> None:
    rnn, x = _small(form=form).float(), torch.randn(N, T, D_IN).float()
    inputs = {"force": torch.ones(N, T)} if feedback else {}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, state = rnn(x, **inputs)
    exact, other = rnn(x, **inputs)
    assert torch.equal(rounded, exact)
    assert torch.equal(state.theta, other.theta)


def test_what_stands_in_the_padding_does_not_matter() -> None:
    rnn, x = _small(input_prev_data=True), torch.randn(N, T, D_IN)
    length = torch.tensor([T, 5, 2])
    other = x.clone()
    other[1, : T - 5], other[2, : T - 2] = 1e3, -7
    one, another = rnn(x, length=length), rnn(other, length=length)
    for i, n in enumerate(length.tolist()):
        assert torch.equal(one[0][i, T - n :], another[0][i, T - n :])
    assert torch.equal(one[1].theta, another[1].theta)


@pytest.mark.parametrize("causal", [True, False])
def test_outputs_see_later_data_only_through_a_convolution_that_is_not_causal(
    causal: bool,
) -> None:
    rnn = _small(embedding=(3, 3, causal), smoothing=True, form="loop")
    with torch.no_grad():
        assert rnn.smoothing is not None
        rnn.smoothing.taps.normal_()
    x = torch.randn(N, T, D_IN)
    changed = x.clone()
    changed[:, 6] += 1
    moved = (rnn(x)[0] - rnn(changed)[0]).abs().sum((0, 2)) > 1e-12
    assert moved.nonzero().min() == (6 if causal else 4)


def test_padding_in_front_leaves_a_causal_convolution_alone() -> None:
    rnn, x = _small(embedding=(3, 4, True), length=T, form="loop"), torch.randn(1, T, D_IN)
    padded, alone = rnn(x, length=torch.tensor([4]))[1], rnn(x[:, T - 4 :])[1]
    torch.testing.assert_close(padded.theta, alone.theta, **EXACT)


def test_smoothing_starts_as_nothing() -> None:
    plain = _small(form="loop")
    smooth = _small(form="loop", smoothing=True)
    smooth.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(N, T, D_IN)
    torch.testing.assert_close(plain(x)[0], smooth(x)[0], **EXACT)


def test_noise_moves_the_first_weights_in_training_alone() -> None:
    rnn, x = _small(initial_noise=0.1), torch.randn(N, T, D_IN)
    one, other = rnn(x)[1].theta, rnn(x)[1].theta
    assert not torch.isclose(one, other).all(-1).any()
    rnn.eval()
    assert torch.equal(rnn(x)[1].theta, rnn(x)[1].theta)
    rnn.noise_in_eval = True
    assert not torch.equal(rnn(x)[1].theta, rnn(x)[1].theta)


def test_the_time_of_a_step_follows_the_length_that_is_set() -> None:
    rnn = _small(length=T)
    x = torch.randn(N, T, D_IN)
    torch.testing.assert_close(rnn(x[:, :5])[0], rnn(x)[0][:, :5], **EXACT)
    rnn.length = None
    assert not torch.isclose(rnn(x[:, :5])[0][:, 1:], rnn(x)[0][:, 1:5]).any()


def test_a_root_of_one_s_own_is_read_in_place_of_the_network() -> None:
    class Line:
        size, inputs, outputs = 2, 1, 1

        def fresh(self, generator: torch.Generator | None = None) -> Tensor:
            return torch.tensor([2.0, 1.0])

        def __call__(self, theta: Tensor, z: Tensor) -> Tensor:
            return theta[..., :1] * z + theta[..., 1:]

    rnn = WeightSpaceRNN(D_IN, 1, root=Line())
    out, _ = rnn(torch.randn(N, T, D_IN))
    expected = 2 * torch.linspace(0, 1, T) + 1
    torch.testing.assert_close(out[..., 0], expected.expand(N, -1), **EXACT)
    with pytest.raises(ConfigError, match="maps 1 features to 1 outputs"):
        WeightSpaceRNN(D_IN, 2, root=Line())


def test_frozen_weights_recall_the_last_output_and_answer_between_steps() -> None:
    rnn = _small(length=T, input_prev_data=False)
    out, state = rnn(torch.randn(N, T, D_IN))
    theta = state.theta
    model = WarpModel(rnn)
    recalled = model.recall(theta, torch.zeros(N, T, D_IN)).mean
    torch.testing.assert_close(recalled[:, -1], out[:, -1, : rnn.head.channels], **EXACT)
    places = torch.arange(T).double()
    torch.testing.assert_close(model.query(theta, places).mean, recalled, **EXACT)
    between = model.query(theta, torch.linspace(0, T - 1, 2 * T - 1)).mean
    torch.testing.assert_close(between[:, ::2], recalled, **EXACT)


def test_frozen_weights_with_data_need_the_data() -> None:
    rnn, x = _small(length=T, input_prev_data=True), torch.randn(N, T, D_IN)
    out, state = rnn(x)
    theta = state.theta
    recalled = WarpModel(rnn).recall(theta, x).mean
    torch.testing.assert_close(recalled[:, -1], out[:, -1, : rnn.head.channels], **EXACT)
    with pytest.raises(DataError, match="sees data beside the clock"):
        WarpModel(rnn).query(theta, torch.zeros(1))


@pytest.mark.parametrize("lead", [0, 1])
def test_a_picture_at_its_own_size_is_read_where_training_read_it(lead: int) -> None:
    rnn = WeightSpaceRNN(1, picture=(3, 4), length=12, encoding=(2, 10.0))
    model, theta = WarpModel(rnn, feedback=bool(lead), lead=lead), torch.randn(2, 5000)
    theta = theta[:, : rnn.layers[0].root.size]
    mean = model.picture(theta, 3, 4).mean
    places = model.query(theta, torch.arange(12)).mean
    torch.testing.assert_close(mean, places, **EXACT)
    assert model.picture(theta, 6, 8).mean.shape == (2, 48, 1)


def test_a_picture_needs_coordinates() -> None:
    rnn = WeightSpaceRNN(1, length=12)
    with pytest.raises(ConfigError, match="knows the time alone"):
        WarpModel(rnn).picture(torch.zeros(1, rnn.layers[0].root.size), 3, 4)


@pytest.mark.parametrize(
    ("shape", "inputs", "message"),
    [
        ((N, T), {}, "the input has shape"),
        ((N, T, 5), {}, "the input has shape"),
        ((N, 0, D_IN), {}, "the input has shape"),
        ((N, T, D_IN), {"force": torch.ones(N, 2)}, "`force` has shape"),
        ((N, T, D_IN), {"length": torch.ones(1).long()}, "`length` has shape"),
    ],
)
def test_inputs_of_another_shape_are_refused(
    shape: tuple[int, ...], inputs: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _small()(torch.randn(shape), **inputs)


def test_what_cannot_be_fed_back_is_refused() -> None:
    x, force = torch.randn(N, T, D_IN), torch.ones(N, T)
    with pytest.raises(ConfigError, match="cannot be fed back"):
        WeightSpaceRNN(D_IN, 5)(x, force=force)
    with pytest.raises(ConfigError, match="cannot be sampled"):
        WeightSpaceRNN(D_IN)(x, force=force, sample=x)


def _spec(channels: int = 1, classes: int = 0, canvas: tuple[int, int] | None = None) -> SeriesSpec:
    return SeriesSpec(
        fields={"x": Field((T, channels))},
        batch_shape=(4,),
        batches_per_epoch=1,
        sizes={"train": 4, "val": 0, "test": 0},
        num_classes=classes,
        canvas=canvas,
    )


@pytest.mark.parametrize(
    ("options", "outputs"),
    [
        ({}, 2),
        ({"loss": "nll"}, 4),
        ({"supervision_task": "classification"}, 3),
        ({"supervision_task": "both", "loss": "nll"}, 7),
        ({"root_output_dim": 2}, 2),
    ],
)
def test_the_root_s_outputs_follow_task_and_data(options: dict[str, Any], outputs: int) -> None:
    model = build_model(Config(steps=1, **options), _spec(2, classes=3))
    assert isinstance(model, WarpModel)
    assert model.rnn.layers[0].root.outputs == outputs


def test_every_key_of_the_config_reaches_the_network() -> None:
    config = Config(
        steps=1, mlp_hidden_size=5, mlp_depth=2, root_activation="sin", input_prev_data=True,
        positional_encoding=(2, 100.0), include_canonical_coords=True, rnn_inner_dims=(4,),
        transition="block", transition_block=3, use_theta_prev=True, weights_lim=0.5,
        init_state_layers=1, noise_theta_init=0.1, input_init_std=0.01, unit_normalise=True,
        drive="true_diff", loss="nll", std_lower_bound=0.3, std_additional_tanh=True,
    )  # fmt: skip
    model = build_model(config, _spec(1, canvas=(1, T)))
    assert isinstance(model, WarpModel)
    rnn, (low, high) = model.rnn, model.rnn.layers
    assert low.root == MlpRoot(1 + 2 + 2 + 1, 4, 5, 2, "sin")
    assert high.root == MlpRoot(1 + 2 + 2 + 4, 2, 5, 2, "sin")
    assert low.B.shape == (low.root.size, 1 + 3) and low.B.any()
    assert isinstance(low.transition, Block) and low.transition.width == 3
    assert low.rule.second_order and low.rule.limit == 0.5
    assert not low.initial.shared and len(low.initial.maps) == 2
    assert (rnn.initial_noise, rnn.noise_in_eval, low.rule.drive) == (0.1, False, "true_diff")
    assert rnn.head.named is not None and rnn.head.named.name == "sigmoid"
    assert rnn.head.std_tanh and rnn.head.std_lower_bound == 0.3
    assert (model.feedback, model.lead) == (True, 1)


def test_what_the_original_does_otherwise_reaches_the_network() -> None:
    config = Config(
        steps=1, weights_lim=0.5, weights_lim_gradient="half", weights_lim_products="bfloat16",
        positional_encoding=(2, 100.0), encoding_ahead="vector",
    )  # fmt: skip
    rnn = build_model(config, _spec(1)).rnn
    assert rnn.layers[0].rule.halves and rnn.layers[0].rule.half and rnn.clock.extrapolates
    free = Config(
        steps=1, autoregressive=False, conv_embedding=(3, 2, 1), output_smoothing=True,
        convolutions="original",
    )  # fmt: skip
    for kind in ("wsm", "gru"):
        model = build_model(free.model_copy(update={"model_type": kind}), _spec(1))
        parts = model.rnn if kind == "wsm" else model
        assert parts.embedding.original and parts.smoothing.original
        assert not parts.smoothing.causal and parts.smoothing.taps.all()


def test_outputs_that_do_not_fit_the_task_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 outputs do not make"):
        build_model(Config(steps=1, loss="nll", root_output_dim=3), _spec(2))
    with pytest.raises(ConfigError, match="no pixel coordinates"):
        build_model(Config(steps=1, include_canonical_coords=True), _spec(1))
