"""The two networks: shapes, initialisation, normalisation of streams."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weft.errors import ConfigError
from weft.families.cet.model import StreamNorm, cnn, keep_own, lending, mlp, set_streams
from weft.nn.norm import batch_statistics

NORM_OPS = ("batch", "group", "instance", "layer", "none")


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (mlp((1, 28, 28), 512, 10), 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10),
        (
            cnn((3, 32, 32), 512, 10),
            (27 * 32 + 32) + (288 * 64 + 64) + (576 * 128 + 128) + (2048 * 512 + 512) + 5130,
        ),
        (cnn((1, 28, 28), 7, 10)[-3], 1152 * 7 + 7),
    ],
)
def test_networks_have_the_papers_sizes(model: nn.Module, parameters: int) -> None:
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_layers_have_the_papers_names() -> None:
    assert [n for n, m in mlp((1, 8, 8), 4, 3).named_children() if n[0] == "w"] == [
        "w1",
        "w2",
        "w3",
    ]
    names = [n for n, _ in cnn((1, 8, 8), 4, 3).named_children() if n in "c1c2c3w1w2"]
    assert names == ["c1", "c2", "c3", "w1", "w2"]


@pytest.mark.parametrize("norm_op", NORM_OPS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 17, 9)])
def test_the_cnn_takes_any_image_of_eight_pixels_or_more(
    norm_op: str, shape: tuple[int, int, int]
) -> None:
    model = cnn(shape, 5, 3, norm_op, p_drop=0.1)
    assert model(images(4, *shape)).shape == (4, 3)


@pytest.mark.parametrize(
    ("shape", "norm_op"), [((1, 7, 28), "batch"), ((3, 28, 7), "none"), ((1, 8, 8), "instance")]
)
def test_images_too_small_for_the_pools_are_refused(
    shape: tuple[int, int, int], norm_op: str
) -> None:
    with pytest.raises(ConfigError, match="too small"):
        cnn(shape, 5, 3, norm_op)


def test_weights_fill_the_xavier_interval_and_biases_that_of_one_by_outputs() -> None:
    model = cnn((3, 32, 32), 300, 10)
    for name, fan_in, fan_out in (("c2", 288, 576), ("w1", 2048, 300)):
        layer = model.get_submodule(name)
        outputs = len(layer.bias)
        for values, bound in (
            (layer.weight, (6 / (fan_in + fan_out)) ** 0.5),
            (layer.bias, (6 / (outputs + 1)) ** 0.5),
        ):
            # A bound in float32 may lie above its double by rounding.
            assert values.detach().abs().max().item() <= bound * (1 + 1e-6)
            assert values.detach().std().item() == pytest.approx(bound / 3**0.5, rel=0.2)


@pytest.mark.parametrize("norm_op", ["group", "instance", "layer", "none"])
def test_without_batch_norm_items_do_not_see_each_other(norm_op: str) -> None:
    model = cnn((1, 16, 16), 5, 3, norm_op).double()
    x = images(4, 1, 16, 16).double()
    alone = torch.cat([model(item[None]) for item in x])
    assert torch.allclose(model(x), alone, atol=1e-10)


@pytest.mark.parametrize(
    ("norm_op", "axes", "gains"),
    [("batch", (0, 2, 3), 0), ("group", (1, 2, 3), 32), ("instance", (2, 3), 0),
     ("layer", (1, 2, 3), 32 * 64)],
)  # fmt: skip
def test_norms_standardise_over_their_axes(norm_op: str, axes: tuple[int, ...], gains: int) -> None:
    norm = cnn((1, 16, 16), 5, 3, norm_op).get_submodule("norm1")
    out = norm(3 * images(6, 32, 8, 8) + 1)
    assert out.detach().mean(axes).abs().max().item() < 1e-5
    assert torch.allclose(out.var(axes, unbiased=False), torch.ones(()), atol=1e-3)
    assert sum(p.numel() for p in norm.parameters()) == 2 * gains


def test_each_stream_is_normalised_as_if_alone() -> None:
    together, apart = StreamNorm(3), [StreamNorm(3) for _ in range(4)]
    together.streams = 4
    x = images(20, 3, 2, 2)
    expected = torch.cat([norm(part) for norm, part in zip(apart, x.chunk(4), strict=True)])
    assert torch.equal(together(x), expected)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(norm, name) for norm in apart]).mean(0)
        assert torch.allclose(getattr(together, name), mean, atol=1e-7)
    together.eval()
    apart[0].eval().load_state_dict(together.state_dict())
    assert torch.equal(together(x), apart[0](x))


def test_ranks_that_average_buffers_agree_with_one_process() -> None:
    one, ranks = StreamNorm(3), [StreamNorm(3), StreamNorm(3)]
    one.streams = 4
    for step in range(3):
        x = images(8, 3, 2, 2, seed=step)
        one(x)
        for rank, part in zip(ranks, x.chunk(2), strict=True):
            rank.streams = 2
            rank(part)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(rank, name) for rank in ranks]).mean(0)
        assert torch.allclose(getattr(one, name), mean, atol=1e-6)


def test_set_streams_reaches_every_batch_norm() -> None:
    model = cnn((1, 16, 16), 5, 3)
    set_streams(model, 3)
    assert [m.streams for m in model.modules() if isinstance(m, StreamNorm)] == [3, 3, 3]


@pytest.mark.parametrize("streams", [1, 2])
def test_foreign_statistics_stay_and_outputs_are_those_of_training(streams: int) -> None:
    model = cnn((1, 16, 16), 5, 3)
    set_streams(model, streams)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = images(6, 1, 16, 16)
    with batch_statistics(model):
        frozen = model(x)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(model(x), frozen)
    assert not torch.equal(before["norm1.running_mean"], model.state_dict()["norm1.running_mean"])


@pytest.mark.parametrize("streams", [1, 2])
def test_lent_statistics_standardise_later_batches_until_further_notice(streams: int) -> None:
    norm = StreamNorm(3)
    norm.streams = streams
    full, part = images(12, 3, 2, 2), images(4, 3, 2, 2, seed=1)
    with torch.no_grad(), lending(norm):
        norm(full)
    running = norm.running_mean.clone()
    found = norm(part)
    for all_of_it, kept, ours in zip(
        full.chunk(streams), part.chunk(streams), found.chunk(streams), strict=True
    ):
        centre = all_of_it.mean((0, 2, 3))[:, None, None]
        spread = all_of_it.var((0, 2, 3), correction=0)[:, None, None]
        assert torch.allclose(ours, (kept - centre) / (spread + norm.eps).sqrt(), atol=1e-6)
    assert torch.equal(norm.running_mean, running)  # which moved with the full batch, once
    keep_own(norm)
    assert torch.allclose(norm(part).mean((0, 2, 3)), torch.zeros(3), atol=1e-6)


def test_the_last_layer_may_begin_as_torch_lets_it() -> None:
    def bias(plain: bool) -> torch.Tensor:
        torch.manual_seed(0)
        return mlp((1, 8, 8), 300, 10, plain_output=plain)[-1].bias.detach().abs().max()

    assert bias(True) <= 300**-0.5 < bias(False)
