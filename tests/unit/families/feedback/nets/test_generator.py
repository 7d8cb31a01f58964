"""Generators: what they read, in which order they write, and what their cost grows with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from weft.families.feedback.nets.attention import Size, norm
from weft.families.feedback.nets.feedbackward import Feedbackward
from weft.families.feedback.nets.generator import (
    AssocGenerator,
    Generator,
    LatentGenerator,
    OuterGenerator,
    Reader,
    Seen,
    TokenGenerator,
)
from weft.families.feedback.nets.rows import Rotation, Rows

SIZE = Size(vocab_size=11, n_layer=3, n_head=2, n_embd=8)
MATRICES = 4


def _seen(length: int = 5, batch: int = 2, rows: Rows | None = None) -> Seen:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(11, (batch, length), generator=generator)
    stream = [torch.randn(batch, length, 8, generator=generator) for _ in range(SIZE.n_layer + 1)]
    table = torch.randn(11, 8, generator=generator)
    turn = Rotation.of(torch.arange(length), 4, torch.float32)
    heard = tuple(torch.randn(batch, length, 8, generator=generator) for _ in range(SIZE.n_layer))
    return Seen(tokens, table, tuple(stream), rows or Rows(), turn, heard=heard)


def _reader(*, tokens: bool = True, states: bool = False, own: bool = False) -> Reader:
    return Reader(SIZE, tokens=tokens, states=states, own_table=own, shared_map=False)


def _network(tokens: int, *, recurrent: bool = False, reverse: bool = True) -> Feedbackward:
    return Feedbackward(SIZE, tokens, recurrent=recurrent, reverse=reverse, first_position=None)


def _generators(rank: int = 2) -> dict[str, Generator]:
    torch.manual_seed(0)
    return {
        "tokens": TokenGenerator(_reader(), _network(2 * MATRICES * rank)),
        "latent": LatentGenerator(_reader(states=True), _network(3), SIZE, MATRICES, rank),
        "outer": OuterGenerator(SIZE, MATRICES, rank, shared=False, tokens=False),
        "assoc": AssocGenerator(SIZE, MATRICES, rank, shared=False, tokens=False, error=True),
    }


@pytest.mark.parametrize("name", ["tokens", "latent", "outer", "assoc"])
def test_a_generator_writes_all_rows_of_every_block_and_a_summary(name: str) -> None:
    rows, summary = _generators()[name](_seen())
    assert [tuple(block.shape) for block in rows] == [(2, 2 * MATRICES * 2, 8)] * 3
    assert tuple(summary.shape) == (2, 8)


def test_a_reader_without_a_table_of_its_own_uses_the_feedforward_one() -> None:
    seen = _seen()
    shared, own = _reader(), _reader(own=True)
    assert torch.equal(shared(seen)[0], seen.table[seen.tokens])
    assert own.table is not None and torch.equal(own(seen)[0], own.table[seen.tokens])
    assert not list(shared.parameters())


def test_hidden_states_replace_tokens_or_join_them() -> None:
    torch.manual_seed(0)
    seen, alone, both = _seen(), _reader(tokens=False, states=True), _reader(states=True)
    both.load_state_dict(alone.state_dict())
    (x, added), (y, added_too) = alone(seen), both(seen)
    assert alone.last is not None and added is not None and added_too is not None
    torch.testing.assert_close(x, norm(seen.stream[3]) @ alone.last.t())
    torch.testing.assert_close(y - x, seen.table[seen.tokens])
    for layer in range(3):
        torch.testing.assert_close(added[layer], norm(seen.stream[layer]) @ alone.maps[layer].t())
        assert torch.equal(added[layer], added_too[layer])


@pytest.mark.parametrize("reverse", [False, True])
def test_what_joins_for_a_block_reaches_it_and_those_written_later(reverse: bool) -> None:
    torch.manual_seed(0)
    network, seen = _network(4, reverse=reverse), _seen()
    x = seen.stream[0]
    added = [torch.zeros_like(x) for _ in range(3)]
    before, _ = network(x, Rows(), seen.turn, added)
    added[1] = added[1] + 1 + torch.arange(8.0)
    after, _ = network(x, Rows(), seen.turn, added)
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == ([True, True, False] if reverse else [False, True, True])


def test_recurrent_steps_share_a_block_and_know_which_one_they_write() -> None:
    torch.manual_seed(0)
    network, seen = _network(4, recurrent=True, reverse=False), _seen()
    assert len(network.blocks) == 1 and network.layer_table is not None
    before, _ = network(seen.stream[0], Rows(), seen.turn)
    with torch.no_grad():
        network.layer_table[2] += torch.randn(8)
    after, _ = network(seen.stream[0], Rows(), seen.turn)
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [False, False, True]


def _moment(x: Tensor, projection: Tensor) -> Tensor:
    """mean_t (P x_t) x_t^T of one sample, position by position."""
    terms = [torch.outer(projection @ row, row) for row in x]
    return torch.stack(terms).mean(0)


def test_outer_rows_are_means_of_outer_products_over_the_text() -> None:
    real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    seen = _seen(rows=Rows(real))
    generator = _generators()["outer"]
    assert isinstance(generator, OuterGenerator)
    written = generator(seen)[0][1]
    text = seen.rows.real
    assert text is not None
    for sample, count in ((0, 5), (1, 3)):
        before, after = (norm(seen.stream[layer][sample, :count]) for layer in (1, 2))
        down = _moment(before, generator.before[1]).view(MATRICES, 2, 8)
        up = _moment(after, generator.after[1]).view(MATRICES, 2, 8)
        expected = torch.stack((down, up), 1).flatten(0, 2)
        torch.testing.assert_close(written[sample], expected)


def test_latent_rows_are_mixtures_of_latents_mapped_for_side_and_layer() -> None:
    generator, seen = _generators()["latent"], _seen()
    assert isinstance(generator, LatentGenerator)
    x, added = generator.reader(seen)
    latents = generator.network(x, seen.rows, seen.turn, added)[0][2]
    rows = generator(seen)[0][2]
    for side in range(2 * MATRICES):
        mapped = nn.functional.gelu(
            (norm(latents) + generator.side[side] + generator.layer[2]) @ generator.map.t()
        )
        expected = generator.mix[side] @ mapped
        torch.testing.assert_close(rows[:, 2 * side : 2 * side + 2], expected)


def _flops(generator: Generator) -> int:
    with torch.device("meta"):
        seen = _seen(32, 1)
    with FlopCounterMode(display=False) as counter:
        generator.to("meta")(seen)
    return counter.get_total_flops()


def test_cost_grows_with_rank_as_promised() -> None:
    """From rank 1 to 65: the outer and latent generators far below the weight tokens."""
    few, many = _generators(1), _generators(65)
    extra = {name: (_flops(many[name]) - _flops(few[name])) / 64 for name in few}
    width, length, latents, layers = 8, 32, 3, 3
    assert extra["outer"] == layers * 2 * MATRICES * 4 * length * width
    assert extra["latent"] == layers * 2 * MATRICES * 2 * latents * width
    assert extra["tokens"] > 10 * extra["latent"]


def test_an_associative_memory_answers_a_key_with_the_values_that_stood_at_and_beside_it() -> None:
    """Position by position: B^T A x = mean_t (P a_t . P x) v_t, of text that is shown alone."""
    torch.manual_seed(0)
    memory = AssocGenerator(SIZE, MATRICES, 2, shared=False, tokens=False, error=True).double()
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    real = torch.tensor([[True, True, True, True, False]])
    shown = torch.tensor([[True, False, True, True, False]])
    plain = _seen(batch=1, rows=Rows(real))
    stream = tuple(state.double() for state in plain.stream)
    error = torch.randn(1, 5, 8, dtype=torch.float64)
    heard = tuple(torch.randn(1, 5, 8, dtype=torch.float64) for _ in range(3))
    seen = replace(plain, stream=stream, error=(error,), heard=heard, shown=shown)
    written, _ = memory(seen)
    assert memory.errors is not None
    scaled = error[0] / error[0, :4].square().mean().sqrt()
    x = torch.randn(8, dtype=torch.float64)
    for layer in range(3):
        before, after = norm(stream[layer])[0], norm(stream[layer + 1])[0] * shown[0, :, None]
        rows = written[layer].unflatten(1, (MATRICES, 2, 2))[0]
        for matrix in range(MATRICES):
            part = slice(8 * matrix, 8 * matrix + 8)
            own, left, right = memory.around[layer][:, part]
            map_, keys = memory.values[layer][part], memory.keys[layer][matrix]
            read = heard[layer][0] if matrix == 3 else before
            expected = torch.zeros(8, dtype=torch.float64)
            for t in (0, 2, 3):
                value = own * (map_ @ after[t]) + right * (map_ @ after[t + 1])
                if t:
                    value = value + left * (map_ @ after[t - 1])
                value = value + memory.errors[layer][part] @ scaled[t]
                expected += (keys @ read[t]) @ (keys @ x) * value / 4
            down, up = rows[matrix]
            torch.testing.assert_close(up.t() @ (down @ x), expected)
