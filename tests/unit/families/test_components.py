"""The public components under what users of torch do with modules and functions of theirs."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weft.errors import ConfigError, DataError, UsageError
from weft.families.cet import convert
from weft.families.feedback import Factors, write_deltas
from weft.families.gaussvae import fit, render
from weft.families.jepa import (
    MovingDots,
    centred,
    covariance,
    infonce,
    nt_xent,
    sigreg,
    var_ratio,
    variance_hinge,
    within_infonce,
)
from weft.families.warp import WeightSpaceRNN


def draws(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def traced() -> nn.Module:
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    return convert(plain, order=3, delay=4)


def recurrent() -> nn.Module:
    torch.manual_seed(1)
    return WeightSpaceRNN(input_size=3, output_size=5, length=10, width=4, depth=1)


def first(out: Any) -> Tensor:
    found: Tensor = out[0] if isinstance(out, tuple) else out
    return found


def gradients(module: nn.Module, x: Tensor) -> Tensor:
    module.zero_grad()
    first(module(x)).square().mean().backward()
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


MODULES = {"cet": (traced, (20, 4)), "warp": (recurrent, (2, 10, 3))}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_copied_pickled_and_cast(name: str) -> None:
    make, shape = MODULES[name]
    module, x = make(), draws(*shape)
    wanted = gradients(module, x)
    again = make()
    again.load_state_dict(module.state_dict())
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), again):
        assert torch.equal(gradients(copied, x), wanted)
    assert (gradients(copy.deepcopy(module).double(), x.double()) - wanted).abs().max() < 1e-5
    assert (gradients(copy.deepcopy(module).half(), x.half()) - wanted).abs().max() < 1e-2
    torch.testing.assert_close(gradients(module, x.mT.contiguous().mT), wanted)
    assert first(copy.deepcopy(module).to("meta")(x.to("meta"))).shape == first(module(x)).shape
    with torch.inference_mode():
        module(x)
    assert torch.equal(gradients(module, x), wanted)


def test_a_stream_without_a_moment_teaches_nothing() -> None:
    module = traced()
    assert not gradients(module, draws(0, 4)).any()
    pictures = convert(nn.Sequential(nn.Conv2d(3, 4, 3)), order=2, delay=3)
    assert not gradients(pictures, draws(0, 3, 5, 5)).any()


def test_pairings_of_ever_new_lengths_are_not_all_kept() -> None:
    module = traced()
    for length in range(5, 105):
        gradients(module, draws(length, 4))
    assert len(module[0].clock._pairings) <= 64  # type: ignore[index, union-attr]


def transformed(module: nn.Module, x: Tensor) -> Tensor:
    """The gradient by torch.func."""
    values = {name: value.detach() for name, value in module.named_parameters()}

    def loss(values: dict[str, Tensor]) -> Tensor:
        return first(torch.func.functional_call(module, values, (x,))).square().mean()

    return torch.cat([slope.flatten() for slope in torch.func.grad(loss)(values).values()])


def test_torch_func_sees_through_a_weight_space_rnn() -> None:
    module, x = recurrent(), draws(2, 10, 3)
    found = transformed(module, x)
    torch.testing.assert_close(found, gradients(module, x), atol=1e-6, rtol=1e-4)
    alone = torch.func.vmap(lambda one: first(module(one[None]))[0])(x)
    torch.testing.assert_close(alone, first(module(x)))


def test_torch_func_sees_through_drawing() -> None:
    splats = draws(2, 5, 8).sigmoid()
    slope = torch.func.grad(lambda some: render(some, 16, 16).square().mean())(splats)
    leaf = splats.clone().requires_grad_()
    render(leaf, 16, 16).square().mean().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(slope, leaf.grad, atol=1e-5, rtol=1e-3)


def test_torch_func_is_told_that_traces_are_no_gradients() -> None:
    with pytest.raises(UsageError, match="learns by a trace"):
        transformed(traced(), draws(20, 4))


@pytest.mark.parametrize("part", ["traces", "pictures"])
def test_a_second_derivative_of_what_is_written_by_hand_is_refused(part: str) -> None:
    if part == "traces":
        module = traced()
        leaves = list(module.parameters())
        value = module(draws(20, 4)).sum()
    else:
        leaves = [draws(1, 5, 8).sigmoid().requires_grad_()]
        value = render(leaves[0], 16, 16).sum()
    slopes = torch.autograd.grad(value, leaves, create_graph=True)
    # Beside a term that has one, its part would be missing without a word.
    penalty = sum(slope.square().sum() for slope in slopes) + leaves[0].square().sum()
    with pytest.raises(UsageError, match="has no derivative"):
        penalty.backward()


CODES = draws(5, 4, 8)
PAIRS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "infonce": lambda h, e: infonce(h, e, 0.1),
    "within_infonce": lambda h, e: within_infonce(h, e, 0.1),
    "nt_xent": lambda h, e: nt_xent(h, e, 0.1),
}
SINGLE = {"hinge": variance_hinge, "covariance": covariance, "ratio": var_ratio, "centred": centred}
SHAPES = [(8,), (4, 8), (1, 5, 4, 8), (5, 0, 8), (0, 4, 8), (5, 4, 0)]


@pytest.mark.parametrize("shape", SHAPES)
def test_losses_refuse_codes_of_other_shapes_in_words(shape: tuple[int, ...]) -> None:
    codes = torch.zeros(shape)
    for single in SINGLE.values():
        with pytest.raises(UsageError, match="codes of shape"):
            single(codes)
    for pair in PAIRS.values():
        with pytest.raises(UsageError, match="codes of shape"):
            pair(codes, codes)
    if len(shape) != 2:
        with pytest.raises(UsageError, match="codes of shape"):
            sigreg(codes, draws(8, 3), 17)


@pytest.mark.parametrize("name", PAIRS)
def test_partners_are_as_many_and_as_wide(name: str) -> None:
    for other in (CODES[:, :2], CODES[..., :3], CODES[:2]):
        with pytest.raises(UsageError, match="no partners"):
            PAIRS[name](CODES, other)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_more_than_zero(temperature: float) -> None:
    for loss in (infonce, within_infonce, nt_xent):
        with pytest.raises(UsageError, match="temperature"):
            loss(CODES, CODES, temperature)


SIZES = [{"length": 0}, {"length": 2.5}, {"input_size": 0}, {"output_size": -2}, {"classes": "x"}]


@pytest.mark.parametrize("sizes", SIZES)
def test_sizes_that_are_none_are_told(sizes: dict[str, Any]) -> None:
    (name,) = sizes
    with pytest.raises(ConfigError, match=f"`{name}` is"):
        WeightSpaceRNN(**{"input_size": 3, **sizes})


def test_odd_inputs_are_told_in_words() -> None:
    with pytest.raises(DataError, match="a Tensor is no state"):
        recurrent()(draws(2, 10, 3), draws(2, 4))
    with pytest.raises(UsageError, match=r"an input of shape \(3, 5, 5\)"):
        convert(nn.Sequential(nn.Conv2d(3, 4, 3)), order=2, delay=3)(draws(3, 5, 5))
    with pytest.raises(UsageError, match=r"splats of torch\.int64"):
        render(torch.ones(1, 5, 8, dtype=torch.int64), 16, 16)
    with pytest.raises(UsageError, match="pictures that are of ndarray"):
        fit(draws(3, 16, 16).numpy(), splats=4, steps=1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="both whole"):
        fit(draws(3, 16, 16).sigmoid(), splats=2.5, steps=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("factors", [
    Factors(torch.ones(4, 2, 6), torch.ones(4, 3, 10)),
    Factors(torch.ones(4, 2, 6), torch.ones(4, 2, 10).half()),
])  # fmt: skip
def test_factors_of_different_rank_or_type_are_told(factors: Factors) -> None:
    model = nn.Sequential(nn.Linear(6, 10))
    with (
        pytest.raises(ValueError, match=r"A has rank 2.* and B"),
        write_deltas(model, {"0": factors}),
    ):
        pass


def test_pictures_that_are_part_of_a_graph_are_fitted() -> None:
    picture = draws(3, 16, 16).sigmoid()
    wanted = fit(picture, splats=4, steps=2).splats
    assert torch.equal(fit(picture.clone().requires_grad_(), splats=4, steps=2).splats, wanted)


@pytest.mark.parametrize("where", ["float64", "meta"])
def test_defaults_of_a_caller_change_no_data(where: str) -> None:
    def made() -> tuple[Tensor, ...]:
        batch = next(iter(MovingDots(batch_size=2)))
        picture = torch.full((3, 16, 16), 0.5, dtype=torch.float32, device="cpu")
        return *batch.values(), fit(picture, splats=4, steps=2).splats

    wanted = made()
    if where == "meta":
        with torch.device("meta"):
            found = made()
    else:
        torch.set_default_dtype(torch.float64)
        try:
            found = made()
        finally:
            torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(found, wanted, strict=True))
