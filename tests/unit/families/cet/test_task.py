"""The task: what a step learns from, what it reports, and that watching changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weft.data.source import Batch, DataSpec, Field
from weft.families.cet.config import CetData, Config
from weft.families.cet.objective import cross_entropy, largest
from weft.families.cet.sets.stream import Norm, StreamSource
from weft.families.cet.task import CetTask
from weft.task.context import Context

SHAPE, CLASSES, LENGTH = (1, 16, 16), 4, 12


def task(**values: Any) -> CetTask:
    settings: dict[str, Any] = {"batch_size": LENGTH, "delay": 3, "order": 3, "hidden_dim": 9}
    return CetTask(Config(steps=1, **{**settings, **values}))


def build(task: CetTask, *, plain: bool = False) -> nn.Module:
    spec = DataSpec(
        {"image": Field(SHAPE), "label": Field((), torch.int64)},
        (task.config.streams, task.config.batch_size), 5, {}, CLASSES,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (task.network if plain else task.model)(spec).double().train()


def batch(streams: int = 1, length: int = LENGTH, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(streams, length, *SHAPE, generator=generator, dtype=torch.float64)
    return {
        "image": image,
        "label": torch.randint(CLASSES, (streams, length), generator=generator),
    }


def context(step: int = 0, *, log: bool = True) -> Context:
    return Context(0, step, 10, torch.device("cpu"), log=log)


def gradients(task: CetTask, model: nn.Module, data: Batch, **where: Any) -> dict[str, Tensor]:
    model.zero_grad()
    loss, _ = task.loss(model, data, context(**where))
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def autograd(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor], rtol: float = 1e-10) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.allclose(a[name], b[name], rtol=rtol, atol=1e-12), name


@pytest.mark.parametrize("arch", ["mlp", "cnn"])
def test_without_delay_a_step_is_back_propagation(arch: str) -> None:
    undelayed = task(delay=0, arch=arch)
    data, plain = batch(), build(undelayed, plain=True)
    loss = cross_entropy(plain(data["image"][0]), data["label"][0]).mean()
    assert_close(gradients(undelayed, build(undelayed), data), autograd(plain, loss))


@pytest.mark.parametrize("arch", ["mlp", "cnn"])
def test_an_ideal_trace_gives_the_gradient_of_all_but_the_last_errors(arch: str) -> None:
    ideal = task(kernel="ideal", arch=arch)
    data, plain = batch(), build(ideal, plain=True)
    losses = cross_entropy(plain(data["image"][0]), data["label"][0])
    found = gradients(ideal, build(ideal), data)
    if arch == "mlp":
        assert_close(found, autograd(plain, losses[:-3].sum() / LENGTH))
    else:
        # Batch norm mixes the items of a batch below w1; above it the last errors drop out.
        expected = autograd(plain, losses[:-3].sum() / LENGTH)
        assert_close(*({n: g[n] for n in g if n[0] == "w"} for g in (found, expected)))


@pytest.mark.parametrize("arch", ["mlp", "cnn"])
@pytest.mark.parametrize("quantile", [0.0, 0.5])
def test_streams_learn_as_if_each_were_alone(arch: str, quantile: float) -> None:
    options = {"arch": arch, "top_quantile": quantile, "sparse_inputs": True,
               "sparse_threshold": 2e-3}  # fmt: skip
    many, one = task(streams=3, **options), task(**options)
    data = batch(streams=3)
    alone = [
        gradients(one, build(one), {k: v[i : i + 1] for k, v in data.items()}) for i in range(3)
    ]
    mean = {name: torch.stack([g[name] for g in alone]).mean(0) for name in alone[0]}
    assert_close(gradients(many, build(many), data), mean, rtol=1e-9)


def test_parts_of_a_batch_accumulate_to_the_whole() -> None:
    options = {"streams": 4, "sparse_inputs": True, "sparse_threshold": 2e-3}
    whole, parted = task(**options), task(**options, engine={"accumulation": 2})
    data, model = batch(streams=4), build(parted)
    for part in range(2):
        piece = {k: v[2 * part : 2 * part + 2] for k, v in data.items()}
        loss, _ = parted.loss(model, piece, context())
        (loss / 2).backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    expected = gradients(whole, build(whole), data)
    assert_close(found, expected, rtol=1e-9)
    dense = task(streams=4)
    assert not torch.allclose(
        expected["w1.weight"], gradients(dense, build(dense), data)["w1.weight"]
    )


@pytest.mark.parametrize("arch", ["mlp", "cnn"])
def test_gating_learns_from_the_hardest_items_at_their_own_times(arch: str) -> None:
    gated = task(top_quantile=0.5, kernel="ideal", arch=arch, norm_op="none")
    data, plain = batch(), build(gated, plain=True)
    losses = cross_entropy(plain(data["image"][0]), data["label"][0])
    kept = largest(losses[None].detach(), 6)[0]
    in_time = kept[kept + 3 < LENGTH]
    found = gradients(gated, build(gated), data)
    assert_close(found, autograd(plain, losses[in_time].sum() / len(kept)))


def test_gating_leaves_running_statistics_to_the_items_learnt_from() -> None:
    gated = task(top_quantile=0.5, arch="cnn")
    model, twin = build(gated), build(gated)
    data = batch()
    gated.loss(model, data, context())
    losses = cross_entropy(twin(data["image"][0]), data["label"][0])
    twin.load_state_dict(build(gated).state_dict())
    twin(data["image"][0, largest(losses[None], 6)[0]])
    for name in ("norm1.running_mean", "norm3.running_var"):
        assert torch.equal(model.get_buffer(name), twin.get_buffer(name))


def test_an_ungated_step_after_a_gated_one_sees_whole_streams() -> None:
    gated, whole = task(top_quantile=0.5), task()
    model, data = build(gated), batch()
    gradients(gated, model, data)
    assert_close(gradients(whole, model, data), gradients(whole, build(whole), data))


@pytest.mark.parametrize(
    "option",
    [{"order": 1}, {"readout": "optimal"}, {"error": "smeared"}, {"kernel": "sideways"},
     {"gate": "error"}, {"gate": "trace"}, {"threshold": 0.5}, {"binary": 0.5},
     {"sparse_inputs": True, "sparse_threshold": 2e-3}, {"top_quantile": 0.5},
     {"covariance": 1.0}, {"readout": "legendre"}, {"timescale": "retrograde"}],
    ids=str,
)  # fmt: skip
def test_every_option_of_the_rule_changes_the_update(option: dict[str, Any]) -> None:
    usual, other, data = task(), task(**option), batch()
    a, b = gradients(usual, build(usual), data), gradients(other, build(other), data)
    assert not torch.allclose(a["w1.weight"], b["w1.weight"], rtol=1e-3)


RETROGRADE = {"timescale": "retrograde", "top_quantile": 0.5}


@pytest.mark.parametrize(
    "option",
    [{"error": "smeared"}, {"theta_threshold": 30.0}, {"effective_batch": 2}, {"bn_from": "full"},
     {"input_accumulation": 2}, {"order": 1}, {"random_times": True}],
    ids=str,
)  # fmt: skip
def test_every_option_of_the_retrograde_rule_changes_the_update(option: dict[str, Any]) -> None:
    usual, other = (task(arch="cnn", **RETROGRADE, **more) for more in ({}, option))
    data = batch()
    a = gradients(usual, build(usual), data)
    b = gradients(other, build(other), other.draw(data, context()))
    assert not torch.allclose(a["c1.weight"], b["c1.weight"], rtol=1e-3)


def test_times_at_random_are_sorted_distinct_and_drawn_anew_at_each_step() -> None:
    drawing = task(random_times=True, **RETROGRADE)
    first, again, later = (drawing.draw(batch(2), context(step))["times"] for step in (0, 0, 1))
    assert first.shape == (2, 6) and int(first.max()) < LENGTH
    assert bool((first.diff(dim=1) > 0).all())
    assert torch.equal(first, again) and not torch.equal(first, later)


def test_the_retrograde_output_layer_learns_exactly_and_is_not_compared() -> None:
    watched = task(track_sim=True, timescale="retrograde")
    model, data = build(watched), batch()
    found = gradients(watched, model, data)
    plain = build(watched, plain=True)
    loss = cross_entropy(plain(data["image"][0]), data["label"][0]).mean()
    expected = autograd(plain, loss)
    for name in ("w3.weight", "w3.bias", "w2.bias", "w1.bias"):
        assert torch.allclose(found[name], expected[name], rtol=1e-10, atol=1e-13)
    assert not torch.allclose(found["w1.weight"], expected["w1.weight"], rtol=1e-3)
    layers = {name.partition("/")[2] for name in watched.scalars(model)}
    assert layers == {"w1", "w2"}


def test_the_loss_and_accuracy_are_those_of_the_plain_network() -> None:
    usual, data = task(), batch()
    logits = build(usual, plain=True)(data["image"][0])
    loss, scalars = usual.loss(build(usual), data, context())
    assert torch.allclose(loss, cross_entropy(logits, data["label"][0]).mean())
    assert scalars["accuracy"] == (logits.argmax(-1) == data["label"][0]).float().mean()


def test_soft_targets_train() -> None:
    blended = task(data=CetData(interp_factor=2))
    data, model = batch(), build(blended)
    soft = {**data, "label": torch.nn.functional.one_hot(data["label"], CLASSES).double()}
    assert_close(gradients(blended, model, soft), gradients(blended, build(blended), data))


@pytest.mark.parametrize(
    ("arch", "layers"), [("mlp", ["w1", "w2", "w3"]), ("cnn", ["c1", "c2", "c3", "w1", "w2"])]
)
def test_similarity_is_that_of_update_and_autograd_at_the_same_weights(
    arch: str, layers: list[str]
) -> None:
    watched = task(track_sim=True, arch=arch, norm_op="none")
    model, data = build(watched), batch()
    update = gradients(watched, model, data)
    plain = build(watched, plain=True)
    losses = cross_entropy(plain(data["image"][0]), data["label"][0])
    true = autograd(plain, losses[:-3].sum() / LENGTH)
    scalars = watched.scalars(model)
    assert list(scalars) == [f"{n}/{layer}" for layer in layers
                             for n in ("sim", "sim_centred", "gain")]  # fmt: skip
    for layer in layers:
        a, b = update[f"{layer}.weight"].flatten(), true[f"{layer}.weight"].flatten()
        assert torch.allclose(
            scalars[f"sim/{layer}"].double(), a @ b / (a.norm() * b.norm()), atol=1e-5
        )
        assert torch.allclose(scalars[f"gain/{layer}"].double(), a @ b / (b @ b), atol=1e-5)


@pytest.mark.parametrize("arch", ["mlp", "cnn"])
def test_tracking_similarity_changes_no_gradient(arch: str) -> None:
    usual, watched, data = task(arch=arch), task(arch=arch, track_sim=True), batch()
    a, b = gradients(usual, build(usual), data), gradients(watched, build(watched), data)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_similarity_is_compared_only_at_logged_steps_that_are_multiples() -> None:
    def seen(log: bool, step: int, **values: Any) -> bool:
        watched = task(**values)
        model = build(watched)
        gradients(watched, model, batch(), step=step, log=log)
        return bool(watched.scalars(model))

    assert seen(True, 0, track_sim=True)
    assert not seen(True, 0) and not seen(False, 0, track_sim=True)
    assert [seen(True, s, track_sim=True, sim_every=3) for s in range(6)] == [
        False, False, True, False, False, True
    ]  # fmt: skip


def fake_source(count: int) -> StreamSource:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    norm = Norm(torch.full((1, 1, 1), 1 / 255), torch.zeros(1, 1, 1))
    return StreamSource(images, labels, norm, CLASSES, streams=1, length=LENGTH)


@pytest.mark.parametrize("arch", ["mlp", "cnn"])
def test_evaluation_counts_every_item_whatever_the_batch(arch: str) -> None:
    source = fake_source(53)
    results = []
    for size in (7, 53):
        usual = task(arch=arch, eval={"batch_size": size})
        model = build(usual).float().eval()
        with torch.no_grad():
            results.append(usual.evaluate(model, source, context()))
    logits = model(source.norm(source.images))
    assert results[0]["accuracy"] == results[1]["accuracy"]
    hits = (logits.argmax(-1) == source.labels).sum().item()
    assert results[0]["accuracy"] == hits / 53
    loss = torch.nn.functional.cross_entropy(logits, source.labels).item()
    assert [r["loss"] for r in results] == pytest.approx([loss, loss], rel=1e-5)


def test_evaluation_changes_no_state() -> None:
    usual = task(arch="cnn")
    model = build(usual).float()
    gradients(usual, model, {k: v.float() if k == "image" else v for k, v in batch().items()})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.eval()
    with torch.no_grad():
        usual.evaluate(model, fake_source(20), context())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_delay_hurts_and_order_helps_on_the_digits() -> None:
    accuracy = {
        name: accuracy_on_digits(**options)
        for name, options in {
            "back-propagation": {"delay": 0},
            "CET(10)": {"delay": 20, "order": 10},
            "no memory": {"delay": 20, "kernel": "sideways"},
        }.items()
    }
    assert accuracy["back-propagation"] > 0.85
    assert accuracy["back-propagation"] > accuracy["CET(10)"] + 0.02
    assert accuracy["CET(10)"] > accuracy["no memory"] + 0.1


def accuracy_on_digits(**options: Any) -> float:
    """Test accuracy after 200 steps of plain Adam on the 8x8 digits."""
    digits = CetTask(Config(steps=200, hidden_dim=64, **options))
    spec, data = digits.spec(), digits.data()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = digits.model(spec).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(200):
        epoch, place = divmod(step, spec.batches_per_epoch)
        items = data.train.take(data.train.plan(0, epoch)[place], torch.Generator())
        optimiser.zero_grad()
        digits.loss(model, items, context(step, log=False))[0].backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        return digits.evaluate(model, data.test, context())["accuracy"]
