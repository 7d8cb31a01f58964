"""Fast forms of runs that feed predictions back equal the literal loop, gradients included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from weft.families.warp.cell.clock import Clock, Ticks
from weft.families.warp.cell.drive import held_front
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.outputs import Final, Head
from weft.families.warp.cell.physics import FormulaRoot, sine
from weft.families.warp.cell.recurrence_rule import Drive, Rule
from weft.families.warp.cell.root import MlpRoot
from weft.families.warp.forms import choose, history, sequential
from weft.families.warp.forms.autoregressive import Form, rollout, starts
from weft.families.warp.forms.cost import Machine
from weft.families.warp.reference import autoregress

# N = 5 sequences, T = 13 steps, d = 2 channels
N, T, D = 5, 13, 2
DRIVES: tuple[Drive, ...] = ("diff", "innovation", "true_diff")
FORMS: tuple[Form, ...] = ("history", "sequential")


@dataclass
class Case:
    """A layer with everything switched on as a test asks for it, and data to run it on."""

    drive: Drive = "diff"
    transition: str = "full"
    limit: float | None = None
    second_order: bool = False
    input_prev_data: bool = False
    picture: bool = False
    initial_layers: int | None = None
    final: Final = (1.0, 0.1, 0.9, 0.05)
    uncertain: bool = True
    classes: int = 0
    stochastic: bool = False
    noisy: bool = False
    mixed: bool = False
    drive_std: float = 0.2
    steps: int = T
    length: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        torch.manual_seed(1)
        self.clock = Clock(self.steps, encoding=(2, 10.0), picture=(4, 4) if self.picture else None)
        rule = Rule(
            D,
            drive=self.drive,
            input_prev_data=self.input_prev_data,
            limit=self.limit,
            second_order=self.second_order,
        )
        self.head = Head(
            D,
            final=self.final,
            uncertain=self.uncertain,
            std_lower_bound=0.3,
            classes=self.classes,
        )
        root = MlpRoot(
            self.clock.features + D * self.input_prev_data,
            self.head.outputs,
            width=5,
            depth=2,
            nonlinearity="tanh",
        )
        self.layer = Layer(
            root,
            rule,
            self.clock.channels,
            transition=self.transition,
            initial_layers=self.initial_layers,
            drive_std=self.drive_std,
        )
        with torch.no_grad():
            for parameter in self.layer.transition.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        self.x = torch.randn(N, self.steps, D)
        self.x[3:, 0] = self.x[1, 0]  # equal starts
        force = torch.rand(N, self.steps)
        self.force = force if self.mixed else force.round()
        self.sample = torch.randn(N, self.steps, D) if self.stochastic else None
        self.noise = 0.1 * torch.randn(N, self.layer.root.size) if self.noisy else None
        self.weight = torch.randn(N, self.steps, self.head.outputs)
        self.weight *= (torch.rand(self.steps) < 0.6).unsqueeze(-1)  # some steps have no loss
        self.last = torch.randn(N, self.layer.root.size)

    @property
    def ticks(self) -> Ticks:
        position = torch.arange(self.steps, dtype=self.x.dtype)
        return self.clock.ticks(position, self.drive)

    @property
    def parameters(self) -> list[Tensor]:
        return [*self.layer.parameters(), *self.head.parameters()]

    def gradients(self, form: Form | None, *, by_data: bool = True) -> tuple[Tensor, ...]:
        """Outputs, last weights, and the gradients of a loss on both; None is the loop."""
        x, length = self.x.clone().requires_grad_(by_data), None
        wanted, signal = [*self.parameters, *([x] if by_data else [])], x
        if self.length:
            length = torch.tensor(self.length)
            signal = held_front(x, length)
        given: dict[str, Any] = {"sample": self.sample, "length": length}
        if form is None:
            noise = None if self.noise is None else [self.noise]
            run = autoregress(
                [self.layer], self.head, signal, self.force, self.ticks, noise=noise, **given
            )
            out, theta = run.out, run.theta[0]
        else:
            out, theta = rollout(
                self.layer,
                self.head,
                signal,
                self.force,
                self.ticks,
                noise=self.noise,
                form=form,
                **given,
            )
        loss = (out * self.weight).sum() + (theta * self.last).sum()
        return out.detach(), theta.detach(), *torch.autograd.grad(loss, wanted)

    def check(self, form: Form, **options: bool) -> None:
        """Within 1e-11 of the largest entry, in float64."""
        for found, expected in zip(
            self.gradients(form, **options), self.gradients(None, **options), strict=True
        ):
            scale = expected.abs().max().item()
            assert scale > 0, "the case leaves something untested"
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-11 * scale)


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("input_prev_data", [False, True])
def test_every_drive_equals_the_loop(
    form: Form, drive: Drive, stochastic: bool, input_prev_data: bool
) -> None:
    Case(drive, stochastic=stochastic, input_prev_data=input_prev_data).check(form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("transition", ["full", "diag", "block:7", "lowrank:3", "cdiag", "modal:5"])
@pytest.mark.parametrize("second_order", [False, True])
def test_every_transition_equals_the_loop_at_both_orders(
    form: Form, transition: str, second_order: bool
) -> None:
    if transition.startswith("modal") and form == "sequential":
        pytest.skip("modes are no weights to be moved in place")
    Case(transition=transition, second_order=second_order, picture=True).check(form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("drive", DRIVES)
def test_clock_channels_and_partial_force_equal_the_loop(form: Form, drive: Drive) -> None:
    Case(drive, picture=True, mixed=True, input_prev_data=True, second_order=True).check(form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by_data", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
def test_starts_that_depend_on_the_data_equal_the_loop(
    form: Form, by_data: bool, noisy: bool
) -> None:
    Case(initial_layers=1, noisy=noisy, picture=True).check(form, by_data=by_data)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("final", [None, "sin", 0.4, (1.0, 0.1, 0.9, 0.05)])
@pytest.mark.parametrize("uncertain", [False, True])
def test_every_head_equals_the_loop(form: Form, final: Final, uncertain: bool) -> None:
    Case(final=final, uncertain=uncertain, classes=2, stochastic=uncertain).check(form)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("drive", DRIVES)
def test_a_clip_equals_the_loop_and_stops_gradients(drive: Drive, second_order: bool) -> None:
    case = Case(drive, limit=0.3, second_order=second_order, picture=True)
    case.check("sequential")
    theta = case.gradients("sequential")[1]
    assert 0.05 < (theta.abs() == 0.3).double().mean() < 0.95


def test_a_clip_that_nothing_reaches_is_no_clip() -> None:
    clipped, free = Case(limit=1e6), Case()
    for one, other in zip(clipped.gradients("sequential"), free.gradients("history"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_gradients_pass_where_a_weight_sits_exactly_at_its_bound() -> None:
    case = Case(limit=0.1, drive="diff")
    with torch.no_grad():
        case.layer.transition.E.zero_()  # so that a clipped weight meets the bound each step
        case.layer.B.zero_()
    case.check("sequential", by_data=False)


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("limit", [None, 0.3])
@pytest.mark.parametrize("second_order", [False, True])
def test_sequences_that_start_late_equal_the_loop(
    drive: Drive, limit: float | None, second_order: bool
) -> None:
    Case(
        drive,
        limit=limit,
        second_order=second_order,
        length=(13, 5, 1, 9, 13),
        picture=True,
        initial_layers=0,
        input_prev_data=True,
        stochastic=True,
    ).check("sequential")


@pytest.mark.parametrize("steps", [2, 16, 17, 35])
def test_lags_and_blocks_of_any_number_equal_the_loop(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ROWS", 4 * N)  # blocks of 4 steps; lags come in 16s
    Case(steps=steps).check("history")


@pytest.mark.parametrize("limit", [None, 0.3])
@pytest.mark.parametrize("second_order", [False, True])
def test_weights_made_again_equal_the_loop(
    limit: float | None, second_order: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequential, "STORED", 0)
    monkeypatch.setattr(sequential, "ROWS", 4 * N)
    Case(limit=limit, second_order=second_order, picture=True).check("sequential")


@pytest.mark.parametrize("doublings", [1, 2])
def test_giant_steps_of_the_kernel_change_nothing(doublings: int) -> None:
    case = Case(picture=True)
    call = (case.layer, case.head, case.x, case.force, case.ticks)
    plain = rollout(*call, form="history")
    giant = rollout(*call, form="history", doublings=doublings)
    torch.testing.assert_close(giant.out, plain.out, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_root_of_another_kind_equals_the_loop(form: Form) -> None:
    case = Case()
    case.clock = Clock(T)
    root = FormulaRoot(sine(4, 1, "tanh"), inputs=1)
    case.head = Head(1)
    case.layer = Layer(root, Rule(1), drive_std=0.1)
    case.x, case.weight = case.x[..., :1].contiguous(), case.weight[..., :1].contiguous()
    case.last = torch.randn(N, root.size)
    case.check(form)


@pytest.mark.parametrize("form", FORMS)
def test_what_comes_after_the_context_is_not_read(form: Form) -> None:
    case = Case("true_diff", input_prev_data=True)
    force = (torch.arange(T) < 4).to(case.x.dtype).expand(N, -1)
    other = torch.cat([case.x[:, :4], torch.randn_like(case.x[:, 4:])], 1)
    with torch.no_grad():
        out, again = (
            rollout(case.layer, case.head, x, force, case.ticks, form=form).out
            for x in (case.x, other)
        )
        grad = autoregress([case.layer], case.head, case.x, force, case.ticks).out
    assert torch.equal(out, again)
    torch.testing.assert_close(out, grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_single_precision_rounds_a_tame_run_in_the_fifth_digit(form: Form) -> None:
    case = Case(picture=True, input_prev_data=True, drive_std=0.02)
    expected = case.gradients(None)
    case.layer.float(), case.head.float()
    for name in ("x", "force", "weight", "last"):
        setattr(case, name, getattr(case, name).float())
    for found, exact in zip(case.gradients(form), expected, strict=True):
        assert found.dtype == torch.float32
        scale = exact.abs().max().item()
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form: Form) -> None:
    case = Case()
    plain = case.gradients(form)
    with torch.autocast("cpu", torch.bfloat16):
        cast = case.gradients(form)
    for one, other in zip(cast, plain, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("form", FORMS)
def test_a_graph_may_be_used_twice(form: Form) -> None:
    case = Case()
    out = rollout(case.layer, case.head, case.x, case.force, case.ticks, form=form).out
    first = torch.autograd.grad(out.sum(), case.layer.B, retain_graph=True)
    assert torch.equal(first[0], torch.autograd.grad(out.sum(), case.layer.B)[0])


def test_sequences_with_equal_first_data_share_a_start() -> None:
    case = Case(initial_layers=0)
    theta_0, group = starts(case.layer, case.x[:, 0], None)
    assert len(theta_0) == N - 2
    assert group is not None
    torch.testing.assert_close(theta_0[group], case.layer.start(case.x[:, 0]))


def _tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The forms that `fed_back` runs from now on, in order."""
    tried: list[str] = []

    def rolled(*given: Any, form: Form, **options: Any) -> Any:
        tried.append(form)
        return rollout(*given, form=form, **options)

    monkeypatch.setattr(choose, "rollout", rolled)
    return tried


@pytest.mark.parametrize(
    ("limit", "forms"),
    [(50.0, ["history"]), (1.2, ["history", "sequential"]), (0.1, ["sequential"])],
)
def test_a_clip_that_holds_no_weight_back_costs_no_steps_in_turn(
    monkeypatch: pytest.MonkeyPatch, limit: float, forms: list[str]
) -> None:
    case = Case(limit=limit)
    # A machine whose calls cost nothing finds the history cheaper even at this size.
    machine = Machine(rate=1e9, bandwidth=1e12, cache=1e9, cached=1e12, call=0)
    monkeypatch.setattr(choose.Machine, "of", staticmethod(lambda device: machine))
    tried = _tried(monkeypatch)
    x = case.x.clone().requires_grad_()
    run = choose.fed_back(case.layer, case.head, x, case.force, case.ticks)
    assert tried == forms
    loss = (run.out * case.weight).sum() + (run.theta * case.last).sum()
    found = torch.autograd.grad(loss, [*case.parameters, x])
    expected = case.gradients(None)
    torch.testing.assert_close(run.out, expected[0], rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(found, expected[2:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_products_in_bfloat16_round_what_is_added_and_not_the_weights() -> None:
    case = Case(limit=2.0, drive_std=0.05)
    whole = case.gradients("sequential")
    case.layer.rule = replace(case.layer.rule, half=True)
    half = case.gradients("sequential")
    for ours, theirs in zip(half, whole, strict=True):
        assert ours.dtype == torch.float64
        scale = theirs.abs().max()
        assert 0 < (ours - theirs).abs().max() < 0.02 * scale
    # A weight that nothing moves keeps all its digits.
    still = Case(limit=2.0, drive_std=0.0)
    still.layer.rule = replace(still.layer.rule, half=True)
    with torch.no_grad():
        still.layer.transition.E.zero_()
    assert torch.equal(still.gradients("sequential")[1][0], still.layer.initial.theta)


@pytest.mark.parametrize("second_order", [False, True])
def test_half_the_gradient_at_the_bound_is_that_of_the_loop(second_order: bool) -> None:
    found = []
    for halves in (False, True):
        case = Case(limit=0.2, second_order=second_order, drive_std=0.0, input_prev_data=True)
        case.layer.rule = replace(case.layer.rule, halves=halves)
        with torch.no_grad():
            for parameter in case.layer.transition.parameters():
                parameter.zero_()
        found.append((case.gradients("sequential"), case.gradients(None)))
    for ours, theirs in found:
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    whole, half = (ours for ours, _ in found)
    assert not all(torch.allclose(one, other) for one, other in zip(whole, half, strict=True))
