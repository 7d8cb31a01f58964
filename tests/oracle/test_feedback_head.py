"""The chunked head against torch's cross-entropy on full logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.feedback.nets import logits
from weft.families.feedback.nets.logits import cross_entropy


def _case(count: int = 7, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    torch.manual_seed(count)
    hidden = torch.randn(count, 5, dtype=dtype).requires_grad_()
    table = (3 * torch.randn(11, 5, dtype=dtype)).requires_grad_()
    return hidden, table, torch.randint(11, (count,)), torch.rand(count, dtype=dtype)


def _full(hidden: Tensor, table: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    nats = F.cross_entropy(hidden @ table.t(), targets, reduction="none")
    return (nats * weight).sum(), nats


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("chunk", [1, 3, 7, 100, None])
def test_chunked_head_equals_the_full_one(chunk: int | None, dtype: torch.dtype) -> None:
    case = _case(dtype=dtype)
    (ours, nats), (theirs, all_nats) = cross_entropy(*case, chunk), _full(*case)
    rtol = 1e-10 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol)
    torch.testing.assert_close(nats, all_nats, rtol=rtol, atol=rtol)
    gradients = (torch.autograd.grad(2.5 * loss, case[:2]) for loss in (ours, theirs))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=10 * rtol)


def test_sums_over_ids_in_slices_equal_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, table, targets, weight = _case(dtype=torch.float32)
    whole = torch.autograd.grad(cross_entropy(hidden, table, targets, weight, 3)[0], hidden)[0]
    for ids in (1, 4, 11):
        monkeypatch.setattr(logits, "_SLICE", ids)
        ours = torch.autograd.grad(cross_entropy(hidden, table, targets, weight, 3)[0], hidden)[0]
        torch.testing.assert_close(ours, whole, rtol=1e-5, atol=1e-5)


def test_head_on_masked_positions_equals_masking_the_losses_of_all() -> None:
    hidden, table, targets, weight = _case(12)
    masked = torch.rand(12) < 0.5
    ours, _ = cross_entropy(hidden[masked], table, targets[masked], weight[masked], 4)
    theirs, _ = _full(hidden, table, targets, weight * masked)
    gradients = (torch.autograd.grad(loss, (hidden, table)) for loss in (ours, theirs))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=0)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_head_passes_gradcheck() -> None:
    hidden, table, targets, weight = _case(4)

    def total(h: Tensor, t: Tensor) -> Tensor:
        return cross_entropy(h, t, targets, weight, 3)[0]

    assert torch.autograd.gradcheck(total, (hidden, table))


def test_nothing_masked_costs_nothing_and_has_zero_gradients() -> None:
    hidden, table, targets, weight = _case(0)
    loss, nats = cross_entropy(hidden, table, targets, weight, None)
    of_hidden, of_table = torch.autograd.grad(loss, (hidden, table))
    assert (loss.item(), nats.numel(), of_hidden.numel()) == (0.0, 0, 0)
    assert torch.equal(of_table, torch.zeros_like(table))


def test_frozen_head_takes_two_products_and_no_weight_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes: list[tuple[int, ...]] = []
    plain = logits.product

    def counted(x: Tensor, weight: Tensor) -> Tensor:
        out = plain(x, weight)
        shapes.append(tuple(out.shape))
        return out

    monkeypatch.setattr(logits, "product", counted)
    hidden, table, targets, weight = _case(7)
    cross_entropy(hidden, table.detach(), targets, weight, 4)[0].backward()
    assert shapes == [(4, 11), (4, 5), (3, 11), (3, 5)]
    shapes.clear()
    with torch.no_grad():
        cross_entropy(hidden, table, targets, weight, 4)
    assert shapes == [(4, 11), (3, 11)]


def test_extreme_logits_stay_finite_and_exact() -> None:
    hidden = torch.tensor([[1.0], [1.0]])
    table = torch.tensor([[500.0], [0.0], [-500.0]])
    targets = torch.tensor([0, 2])
    _, nats = cross_entropy(hidden, table, targets, torch.ones(2), None)
    torch.testing.assert_close(nats, torch.tensor([0.0, 1000.0]))


def test_head_in_bf16_stays_near_float32() -> None:
    hidden, table, targets, weight = _case(64, torch.float32)
    exact = cross_entropy(hidden, table, targets, weight, 16)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rough = cross_entropy(hidden, table, targets, weight, 16)[0]
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=2e-2, atol=0)
    gradients = (torch.autograd.grad(loss, (hidden, table)) for loss in (rough, exact))
    for a, b in zip(*gradients, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=2e-2 * b.abs().max().item())
