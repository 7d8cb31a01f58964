"""Fast forms against plain ones: packing, padding, read-out, application, merging."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.families.feedback.nets.adapt import Writer, matrices, merge
from weft.families.feedback.nets.attend import attend
from weft.families.feedback.nets.attention import Block, Size
from weft.families.feedback.nets.deltas import Factors, adapted_linear, prefers_factors
from weft.families.feedback.nets.feedforward import Feedforward
from weft.families.feedback.nets.heads import split
from weft.families.feedback.nets.rows import Rotation, Rows, Sight

SIZE = Size(vocab_size=13, n_layer=2, n_head=2, n_embd=8)
PAD = 12
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def _base() -> Feedforward:
    torch.manual_seed(0)
    base = Feedforward(SIZE).double()
    with torch.no_grad():
        for parameter in base.parameters():
            parameter *= 20
    return base


def _packed() -> tuple[Tensor, Rows]:
    """Two rows: documents of 3, 2 and 1 tokens and a pad; of 7 tokens."""
    tokens = torch.randint(PAD, (2, 7), generator=torch.Generator().manual_seed(0))
    tokens[0, 6] = PAD
    document = torch.tensor([[0, 0, 0, 1, 1, 2, -1], [0] * 7])
    position = torch.tensor([[0, 1, 2, 0, 1, 0, 0], list(range(7))])
    return tokens, Rows.of(tokens, PAD, document, position)


def test_packed_documents_do_not_see_each_other() -> None:
    base, (tokens, rows) = _base(), _packed()
    read, _ = base(tokens, rows)
    for row, start, stop in [(0, 0, 3), (0, 3, 5), (0, 5, 6), (1, 0, 7)]:
        alone, _ = base(tokens[row : row + 1, start:stop], Rows())
        torch.testing.assert_close(read[row, start:stop], alone[0], **TIGHT)


def test_cutting_rows_into_documents_equals_masking() -> None:
    _, rows = _packed()
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 7, 2, 4, dtype=torch.float64).requires_grad_() for _ in range(3))
    assert rows.document is not None
    mask = (rows.document[:, :, None] == rows.document[:, None, :])[:, None]
    cut, masked = attend(q, k, v, rows.sight()), attend(q, k, v, Sight(mask))
    assert rows.sight().lengths == (3, 2, 1, 1, 7)
    torch.testing.assert_close(cut, masked, **TIGHT)
    weight = torch.linspace(-1, 1, cut.numel(), dtype=cut.dtype).view(cut.shape)
    gradients = (torch.autograd.grad((out * weight).sum(), (q, k, v)) for out in (cut, masked))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, **TIGHT)


def test_attention_with_dropout_equals_attention_on_average() -> None:
    torch.manual_seed(0)
    q, k = (torch.randn(1, 5, 1, 4).expand(4000, -1, -1, -1) for _ in range(2))
    v = torch.randn(1, 5, 1, 4).expand(4000, -1, -1, -1)
    for sight in (
        Sight(),
        Sight((torch.arange(5) < 4)[None, None, None]),
        Sight(lengths=(5,) * 4000),
    ):
        exact = attend(q[:1], k[:1], v[:1], Sight(sight.mask))
        mean = attend(q, k, v, sight, 0.3).mean(0, keepdim=True)
        torch.testing.assert_close(mean, exact, rtol=0, atol=0.06)


def test_padding_changes_no_text() -> None:
    base = _base()
    tokens = torch.randint(PAD, (2, 5), generator=torch.Generator().manual_seed(0))
    tokens[0, 3:] = PAD
    read, _ = base(tokens, Rows.of(tokens, PAD))
    alone, _ = base(tokens[:1, :3], Rows())
    torch.testing.assert_close(read[0, :3], alone[0], **TIGHT)
    counted, _ = base(tokens, Rows.of(tokens, None))
    assert not torch.allclose(counted[0, :3], alone[0])


def test_rotary_embedding_turns_half_split_pairs() -> None:
    x = torch.randn(2, 3, 1, 6, dtype=torch.float64)
    position = torch.tensor([0, 5, 9])
    turned = Rotation.of(position, 6, x.dtype)(x)
    pairs = torch.complex(x[..., :3], x[..., 3:])
    angle = position[:, None] / 10000 ** (torch.arange(3, dtype=torch.float64) / 3)
    expected = pairs * torch.exp(1j * angle)[:, None]
    torch.testing.assert_close(turned, torch.cat((expected.real, expected.imag), -1), **TIGHT)


@pytest.mark.parametrize("position", [torch.arange(5), torch.tensor([[0, 1, 2, 0, 1], [3] * 5])])
@pytest.mark.parametrize("turned", [0, 1, 2, 3])
def test_heads_split_in_one_pass_are_those_turned_apart(turned: int, position: Tensor) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, 8, dtype=torch.float64).requires_grad_()
    turn = Rotation.of(position, 4, x.dtype)
    apart = [part.unflatten(-1, (2, -1)) for part in x.unbind(2)]
    slow = [turn(part) if number < turned else part for number, part in enumerate(apart)]
    fast = split(x, turn, 2, turned)
    gradients = [
        torch.autograd.grad(sum((n + 1) * y.sin().sum() for n, y in enumerate(parts)), x)[0]
        for parts in (slow, fast)
    ]
    for a, b in zip([*fast, gradients[1]], [*slow, gradients[0]], strict=True):
        torch.testing.assert_close(a, b, **TIGHT)


@pytest.mark.parametrize("first", [None, 4, 40])
def test_cross_attention_equals_the_whole_block(first: int | None) -> None:
    torch.manual_seed(0)
    block = Block(SIZE).double()
    x = torch.randn(2, 4, 8, dtype=torch.float64).requires_grad_()
    tokens = torch.randn(3, 8, dtype=torch.float64).requires_grad_()
    real = torch.tensor([[True] * 4, [True, True, False, False]])
    turn = Rotation.of(torch.arange(4), 4, x.dtype)
    place = torch.zeros(3) if first is None else first + torch.arange(3)
    own = Rotation.of(place, 4, x.dtype)
    both = Rotation(torch.cat((turn.cos, own.cos)), torch.cat((turn.sin, own.sin)))
    seen = Rows(real).sight_of_weights(3)
    fast = block.read(x, tokens, turn, None if first is None else own, seen)
    slow = block(torch.cat((x, tokens.expand(2, -1, -1)), 1), both, seen)[:, 4:]
    torch.testing.assert_close(fast, slow, **TIGHT)
    inputs = [x, tokens, *block.parameters()]
    gradients = (torch.autograd.grad(out.sin().sum(), inputs) for out in (fast, slow))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, **TIGHT)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("rank", [1, 4, 20])
@pytest.mark.parametrize("length", [1, 6, 50])
def test_factored_application_equals_the_materialised_one(
    length: int, rank: int, count: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, length, 8, dtype=torch.float64).requires_grad_()
    weight = torch.randn(count * 6, 8, dtype=torch.float64).requires_grad_()
    down = torch.randn(2, count * rank, 8, dtype=torch.float64).requires_grad_()
    up = torch.randn(2, count * rank, 6, dtype=torch.float64).requires_grad_()
    expected = []
    for m in range(count):
        rows, outputs = slice(m * rank, (m + 1) * rank), slice(6 * m, 6 * m + 6)
        changed = weight[outputs] + up[:, rows].transpose(1, 2) @ down[:, rows]
        expected.append(torch.einsum("bti,boi->bto", x, changed))
    slow, fast = torch.cat(expected, -1), adapted_linear(x, weight, Factors(down, up, count))
    torch.testing.assert_close(fast, slow, **TIGHT)
    gradients = (torch.autograd.grad(y.sin().sum(), (x, weight, down, up)) for y in (fast, slow))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, **TIGHT)


def test_factors_are_chosen_below_the_published_rank() -> None:
    def factors(rank: int) -> Factors:
        return Factors(torch.empty(1, rank, 256), torch.empty(1, rank, 256))

    limit = 2 * 326 * 256 / (12 * 326 - 6 * 256)
    assert prefers_factors(factors(int(limit)), 326)
    assert not prefers_factors(factors(int(limit) + 1), 326)
    assert all(prefers_factors(factors(rank), 128) for rank in (1, 64, 256, 4096))


def test_shared_deltas_by_factors_equal_merging_them() -> None:
    base = _base()
    writer = Writer(matrices(SIZE, mlp=True), SIZE, 3, static=True, dynamic=False).double()
    with torch.no_grad():
        for parameter in writer.parameters():
            parameter.normal_()
    tokens = torch.randint(PAD, (2, 5), generator=torch.Generator().manual_seed(0))
    deltas = writer(None, None)
    applied, _ = base(tokens, Rows(), deltas)
    plain, _ = base(tokens, Rows())
    merge(base, deltas)
    merged, _ = base(tokens, Rows())
    torch.testing.assert_close(applied, merged, **TIGHT)
    assert not torch.allclose(plain, merged)
