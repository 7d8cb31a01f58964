"""Deltas: norms, shuffling, what merging refuses."""

from __future__ import annotations

import pytest
import torch

from weft.families.feedback.nets.adapt import Writer, matrices, merge
from weft.families.feedback.nets.attention import Size
from weft.families.feedback.nets.deltas import BlockDeltas, Deltas, Factors
from weft.families.feedback.nets.feedforward import Feedforward

SIZE = Size(vocab_size=11, n_layer=2, n_head=2, n_embd=8)


def _factors(*batch: int, count: int = 1, rank: int = 3) -> Factors:
    rows = (*batch, count * rank)
    down, up = torch.randn(*rows, 8), torch.randn(*rows, 6)
    return Factors(down.double(), up.double(), count)


@pytest.mark.parametrize("batch", [(), (4,)])
@pytest.mark.parametrize("count", [1, 3])
def test_norm_is_that_of_the_dense_delta(count: int, batch: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    blocks = [BlockDeltas(qkv=_factors(*batch, count=count)) for _ in range(2)]
    expected = torch.stack([b.qkv.dense().square().mean().sqrt() for b in blocks])
    torch.testing.assert_close(Deltas(tuple(blocks)).norms(), {"qkv": expected})


def test_dense_stacks_matrices_in_order() -> None:
    factors = _factors(2, count=3, rank=2)
    last = factors.B[:, 4:].transpose(1, 2) @ factors.A[:, 4:]
    torch.testing.assert_close(factors.dense()[:, 12:], last)


def test_shuffling_moves_the_deltas_of_samples_and_leaves_shared_ones() -> None:
    torch.manual_seed(0)
    own, shared = _factors(3), _factors()
    deltas = Deltas((BlockDeltas(qkv=own, out=shared),), gain=torch.arange(3.0)[:, None])
    rolled = deltas.rolled()
    block = rolled.blocks[0]
    assert block.qkv is not None and block.out is not None and rolled.gain is not None
    assert torch.equal(block.qkv.A[0], own.A[2]) and torch.equal(block.qkv.B[0], own.B[2])
    assert torch.equal(block.out.A, shared.A)
    assert rolled.gain.flatten().tolist() == [2.0, 0.0, 1.0]


@pytest.mark.parametrize("mlp", [False, True])
def test_written_rows_are_normalised_scaled_and_start_at_no_delta(mlp: bool) -> None:
    torch.manual_seed(0)
    rank, stacks = 4, matrices(SIZE, mlp=mlp)
    writer = Writer(stacks, SIZE, rank, static=True, dynamic=True)
    count = 2 * rank * (6 if mlp else 4)
    rows = [1e6 * torch.randn(3, count, 8) for _ in range(2)]
    for block in writer(rows, None).blocks:
        assert all(torch.equal(f.B, torch.zeros_like(f.B)) for _, f in block.items())
    with torch.no_grad():
        for name in writer.gain:
            writer.gain[name].fill_(1.0)
            writer.static_A[name].zero_()
    for block in writer(rows, None).blocks:
        assert [name for name, _ in block.items()] == [stack.name for stack in stacks]
        for stack in stacks:
            factors = getattr(block, stack.name)
            rows_of_stack = (3, stack.count * rank)
            assert factors.A.shape == (*rows_of_stack, stack.inputs)
            assert factors.B.shape == (*rows_of_stack, stack.outputs)
            if not mlp or stack.name in ("qkv", "out"):
                one = torch.ones(rows_of_stack)
                torch.testing.assert_close(factors.A.norm(dim=-1), one)
                spread = factors.B.square().mean(-1) * rank
                torch.testing.assert_close(spread, one)


def test_rows_are_read_as_a_and_b_of_each_matrix_in_turn() -> None:
    writer = Writer(matrices(SIZE, mlp=False), SIZE, 1, static=False, dynamic=True, raw=True)
    rows = torch.arange(8.0)[None, :, None].expand(1, 8, 8)
    block = writer([rows, rows], None).blocks[0]
    assert block.qkv.A[0, :, 0].tolist() == [0, 2, 4] and block.qkv.B[0, :, 0].tolist() == [1, 3, 5]
    assert (block.out.A[0, 0, 0].item(), block.out.B[0, 0, 0].item()) == (6, 7)


def test_merging_refuses_what_no_weight_can_hold() -> None:
    base = Feedforward(SIZE)
    own = Deltas((BlockDeltas(out=_factors(2)),) * 2)
    with pytest.raises(ValueError, match="differ from sample to sample"):
        merge(base, own)
    with pytest.raises(ValueError, match="final norm"):
        merge(base, Deltas((BlockDeltas(),) * 2, gain=torch.zeros(8)))
