"""Attention by oneDNN's products against torch's own, and the products against exact ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from weft.families.feedback.nets import attend as heads
from weft.families.feedback.nets.attend import attend
from weft.families.feedback.nets.rows import Sight
from weft.nn import onednn
from weft.nn.dropout import bits, gain, kept

needed = pytest.mark.skipif(
    not onednn.has_full_rate(torch.empty(1)), reason="torch's own products are the only ones here"
)

SIGHTS: dict[str, Callable[[], Sight]] = {
    "all": Sight,
    "keys": lambda: Sight((torch.arange(150) < torch.tensor([[150], [97]]))[:, None, None]),
    "pairs": lambda: Sight(((torch.arange(130)[:, None] + torch.arange(150)) % 3 > 0)[None, None]),
}


def _case() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    q = torch.randn(2, 130, 3, 8).requires_grad_()
    k, v = (torch.randn(2, 150, 3, 8).requires_grad_() for _ in range(2))
    return q, k, v


def _with_gradients(out: Tensor, leaves: tuple[Tensor, ...]) -> list[Tensor]:
    weight = torch.linspace(-1, 1, out.numel()).view(out.shape)
    return [out, *torch.autograd.grad((out * weight).sum(), leaves)]


@needed
@pytest.mark.parametrize("sight", list(SIGHTS))
def test_attention_at_full_rate_equals_torchs(sight: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = _case()
    ours = _with_gradients(attend(*case, SIGHTS[sight]()), case)
    monkeypatch.setattr(heads, "has_full_rate", lambda _: False)
    theirs = _with_gradients(attend(*case, SIGHTS[sight]()), case)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * b.abs().max().item())


@needed
def test_what_dropout_takes_has_no_share_in_values_or_gradients() -> None:
    case = _case()
    torch.manual_seed(1)
    ours = _with_gradients(attend(*case, Sight(), 0.3), case)
    q, k, v = (x.transpose(1, 2) for x in case)
    share = (q @ k.transpose(2, 3) * 8**-0.5).softmax(-1)
    torch.manual_seed(1)
    left = kept(bits(share.flatten(0, 1).shape), 0.3, share.dtype).view_as(share) * gain(0.3)
    assert (left == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)
    theirs = _with_gradients(((share * left) @ v).transpose(1, 2).flatten(2), case)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * b.abs().max().item())


@needed
@pytest.mark.parametrize("shape", [(3, 17, 33, 20), (8, 326, 32, 326), (2, 300, 300, 32)])
def test_products_are_those_of_float32(shape: tuple[int, ...]) -> None:
    count, rows, inner, columns = shape
    torch.manual_seed(0)
    x, y = torch.randn(count, rows, inner), torch.randn(count, inner, columns)
    before = onednn.precision()
    for a in (x, x.mT.contiguous().mT):
        for b in (y, y.mT.contiguous().mT):
            exact = a.double() @ b.double()
            # Digits that float32 has and bf16 or tf32 has not, on the scale of what is summed.
            most = 1e-6 * (a.double().abs() @ b.double().abs())
            assert ((onednn.bmm(a, b) - exact).abs() <= most).all()
            assert ((onednn.mm(a[0], b[0]) - exact[0]).abs() <= most[0]).all()
    assert onednn.precision() == before


def test_where_digits_would_be_lost_torchs_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(x: Tensor, y: Tensor) -> Tensor:
        return (x.bfloat16() @ y.bfloat16()).float()

    monkeypatch.setattr(onednn, "bmm", rounded)
    onednn._keeps_digits.cache_clear()
    try:
        assert not onednn.has_full_rate(torch.empty(1))
    finally:
        onednn._keeps_digits.cache_clear()


def test_other_dtypes_and_autocast_are_torchs() -> None:
    assert not onednn.has_full_rate(torch.empty(1, dtype=torch.float64))
    assert not onednn.has_full_rate(torch.empty(1, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not onednn.has_full_rate(torch.empty(1))
