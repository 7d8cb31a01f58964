"""Free runs (M1): every fast form gives the literal loop's outputs, weights and gradients."""

# N = 4 sequences, d = 2 channels and one of time, D = 23 weights

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from torch import Tensor

from weft.families.warp import reference
from weft.families.warp.cell.clock import Clock, Ticks
from weft.families.warp.cell.drive import held_front
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.recurrence_rule import Rule
from weft.families.warp.cell.root import MlpRoot
from weft.families.warp.forms.choose import FORMS, choose, free, refusal
from weft.families.warp.forms.cost import Machine, Problem
from weft.families.warp.forms.lag_kernel import lag_kernel
from weft.families.warp.forms.last_state import by_chunks, by_lags
from weft.families.warp.transition.build import build_transition
from weft.families.warp.transition.rotation import Rotation

KINDS = ("full", "diag", "block:5", "lowrank:3", "cdiag", "modal:5")
RULES = {
    "plain": Rule(2),
    "sees data": Rule(2, input_prev_data=True),
    "clipped": Rule(2, limit=0.4),
    "second order": Rule(2, second_order=True),
    "second order, clipped": Rule(2, limit=0.4, second_order=True),
}
LENGTHS = {"equal": None, "ragged": torch.tensor([13, 1, 6, 12])}
CASES = [
    *product(("full", "diag", "block:5", "lowrank:3"), RULES, LENGTHS, (None,)),
    # Where the first weights come from is nothing that a form computes.
    *product(("full", "diag", "block:5", "lowrank:3"), ("sees data",), ("ragged",), (1,)),
    # These two differ from the others by their A alone; modes are no weights, and are not clipped.
    *product(("cdiag", "modal:5"), ("plain", "second order"), LENGTHS, (None,)),
    ("cdiag", "clipped", "ragged", 1),
    ("modal:5", "sees data", "ragged", 1),
]
TOLERANCE = 1e-10


def make_layer(rule: Rule, kind: str, initial_layers: int | None = None) -> Layer:
    """A layer with A = I + noise and B, theta_0 of ordinary size, in float64."""
    torch.manual_seed(0)
    root = MlpRoot(1 + 2 * rule.input_prev_data, 2, 3, 1 if rule.input_prev_data else 2, "tanh")
    layer = Layer(root, rule, 1, transition=kind, initial_layers=initial_layers).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer


def make_inputs(steps: int) -> tuple[Tensor, Ticks]:
    x = torch.randn(4, steps, 2, dtype=torch.float64, requires_grad=True)
    clock = Clock(steps, time_as_channel=True)
    return x, clock.ticks(torch.arange(steps, dtype=torch.float64))


def gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Of a fixed random projection of the outputs; zero where nothing depends on an input."""
    generator = torch.Generator().manual_seed(1)
    errors = [torch.randn(out.shape, generator=generator, dtype=out.dtype) for out in outputs]
    found = torch.autograd.grad(outputs, inputs, errors, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def with_gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    return [*outputs, *gradients(outputs, inputs)]


def assert_same(
    got: Sequence[Tensor], wanted: Sequence[Tensor], inputs: Sequence[Tensor], what: str
) -> None:
    """Outputs that are `wanted`, which has its gradients with it, and their gradients."""
    pairs = zip(with_gradients(got, inputs), wanted, strict=True)
    for place, (a, b) in enumerate(pairs):
        error = ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item()
        assert error < TOLERANCE, f"{what}: tensor {place} is off by {error:.1e}"


@pytest.mark.parametrize(("kind", "rule", "lengths", "initial_layers"), CASES)
def test_every_form_that_can_compute_a_free_run_equals_the_loop(
    kind: str, rule: str, lengths: str, initial_layers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weft.families.warp.forms.estimate.CHUNK", 8 * 4 * 25 * 5)  # several chunks
    choose.cache_clear()
    layer, length = make_layer(RULES[rule], kind, initial_layers), LENGTHS[lengths]
    x, ticks = make_inputs(13)
    held = held_front(x, length)
    run = reference.free([layer], held, ticks, length=length)
    inputs = [x, *layer.parameters()]
    for last in (False, True):
        outputs = (run.out[:, -1:] if last else run.out, run.theta[0])
        wanted = with_gradients(outputs, inputs)
        problem = Problem.of(layer, 4, 13, last=last, ragged=length is not None)
        able = [form for form in FORMS if not refusal(problem, form)]
        assert "sequential" in able
        for form in able:
            got = free(layer, held, ticks, length=length, last=last, form=form)
            assert_same(got, wanted, inputs, form)
    choose.cache_clear()


def test_noise_on_the_first_weights_makes_them_a_sequence_s_own() -> None:
    layer = make_layer(RULES["plain"], "full")
    x, ticks = make_inputs(9)
    noise = torch.randn(4, layer.root.size, dtype=torch.float64)
    run = reference.free([layer], x, ticks, noise=[noise])
    got = free(layer, x, ticks, noise=noise, last=True, form="chunked")
    inputs = [x, *layer.parameters()]
    assert_same(got, with_gradients((run.out[:, -1:], run.theta[0]), inputs), inputs, "chunked")


@pytest.mark.parametrize("steps", [1, 7, 8, 13])
@pytest.mark.parametrize("kind", KINDS)
def test_giant_steps_of_any_size_end_in_the_loop_s_weights(kind: str, steps: int) -> None:
    layer = make_layer(RULES["plain"], kind)
    A, B, theta_0 = layer.transition, layer.B, layer.start(torch.empty(0))
    length = torch.tensor([steps, 1, (steps + 1) // 2, steps])
    drive = torch.randn(4, steps, 3, dtype=torch.float64)
    going = torch.arange(steps) >= steps - length.unsqueeze(1)
    drive = (drive * going.unsqueeze(-1)).requires_grad_()
    theta = theta_0.expand(4, -1)
    for t in range(steps):
        moved = A(theta) + drive[:, t] @ B.mT
        theta = torch.where(going[:, t, None], moved, theta)
    inputs = [B, theta_0, *A.parameters()]
    wanted = with_gradients([theta], inputs)
    for compute, doublings in product((by_lags, by_chunks), (0, 1, 2, 4)):
        got = compute(A, B, theta_0, drive, length, doublings)
        assert_same([got], wanted, inputs, f"{compute.__name__}, {doublings} doublings")


@pytest.mark.parametrize("count", [1, 5, 8])
@pytest.mark.parametrize("doublings", [0, 2])
def test_the_lag_kernel_passes_gradcheck(count: int, doublings: int) -> None:
    def kernel(E: Tensor, columns: Tensor) -> Tensor:
        power = type(first)(E)
        return lag_kernel(power, columns, count, doublings)

    first = build_transition("full", 4).double().power()
    E = (0.3 * torch.randn(4, 4, dtype=torch.float64)).requires_grad_()
    columns = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(kernel, (E, columns))


def test_modes_after_a_context_are_one_product_of_the_drive_with_a_formula(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = make_layer(Rule(2), "modal:6")
    x, ticks = make_inputs(40)
    problem = Problem.of(layer, 4, 40, last=True)
    assert choose(problem, Machine.of(x.device)).form == "last_state"
    run = reference.free([layer], x, ticks)
    inputs = [x, *layer.parameters()]
    wanted = with_gradients((run.out[:, -1:], run.theta[0]), inputs)
    monkeypatch.setattr(Rotation, "forward", None)  # no step is taken
    got = free(layer, x, ticks, last=True)
    assert_same(got, wanted, inputs, "modes")


@pytest.mark.parametrize("form", ["last_state", "chunked", "sequential"])
def test_a_constant_sequence_leaves_a_power_of_a_times_the_start(form: str) -> None:
    layer = make_layer(RULES["plain"], "full")
    x = torch.ones(1, 30, 2, dtype=torch.float64)
    ticks = Clock(30).ticks(torch.arange(30, dtype=torch.float64))
    layer.B = torch.nn.Parameter(layer.B[:, :2].detach())
    with torch.no_grad():
        _, theta = free(layer, x, ticks, last=True, form=form)
        wanted = torch.linalg.matrix_power(layer.transition.dense(), 30) @ layer.start(x[:, 0])
    torch.testing.assert_close(theta[0], wanted, rtol=TOLERANCE, atol=0)


def test_powers_keep_small_entries_of_e_in_float32() -> None:
    # 1e-8 is lost beside 1 in float32; a thousand times that is not.
    layer = make_layer(RULES["plain"], "full").float()
    with torch.no_grad():
        layer.transition.E.copy_(1e-8 * torch.eye(layer.root.size))
        layer.B.zero_()
        start = layer.start(torch.empty(0))
        drive = torch.zeros(1, 1024, 3)
        theta = by_chunks(layer.transition, layer.B, start, drive, None, 10)
    grown = (theta[0].double() / start.double() - 1).mean().item()
    assert grown == pytest.approx(1024e-8, rel=0.02)
