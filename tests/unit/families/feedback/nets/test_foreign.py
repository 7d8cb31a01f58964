"""The parts of feedback work in other people's models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import weft.families.feedback as feedback
from weft.families.feedback import Factors, bound, masked_noise, write_deltas

B, T, C, R, V = 3, 5, 8, 2, 11


class Theirs(nn.Module):
    """A model of another's: an embedding, two layers, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(V, C)
        self.body = nn.Sequential(nn.Linear(C, C), nn.ReLU(), nn.Linear(C, C, bias=False))
        self.head = nn.Linear(C, V)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden: Tensor = self.body(self.embed(tokens))
        return hidden


@pytest.fixture
def model() -> Theirs:
    torch.manual_seed(0)
    return Theirs()


TOKENS = torch.arange(B * T).view(B, T) % V


def factors(*shape: int) -> Factors:
    return Factors(torch.randn(*shape, R, C), torch.randn(*shape, R, C).requires_grad_())


@pytest.mark.parametrize("shape", [(B,), ()])
def test_a_written_delta_is_a_changed_weight_of_each_sample(
    shape: tuple[int, ...], model: Theirs
) -> None:
    before = model(TOKENS)
    delta = factors(*shape)
    with write_deltas(model, {"body.0": delta}):
        written = model(TOKENS)
    dense = delta.dense().expand(B, C, C)
    for row in range(B):
        other = Theirs()
        other.load_state_dict(model.state_dict())
        with torch.no_grad():
            other.body[0].weight += dense[row]  # type: ignore[operator]
        torch.testing.assert_close(written[row], other(TOKENS[row : row + 1])[0])
    assert torch.equal(model(TOKENS), before)
    torch.autograd.backward(written.sum())
    assert delta.B.grad is not None and bool(delta.B.grad.any())


def test_what_does_not_fit_is_refused_and_leaves_nothing_behind(model: Theirs) -> None:
    before = model(TOKENS)
    cases: list[tuple[type[Exception], dict[str, Factors]]] = [
        (KeyError, {"body.0": factors(), "body.1": factors()}),
        (ValueError, {"body.0": factors(), "head": factors()}),
        (ValueError, {"body.0": factors(B + 1)}),
    ]
    for error, deltas in cases:
        with pytest.raises(error), write_deltas(model, deltas):
            model(TOKENS)
        assert torch.equal(model(TOKENS), before)


def test_noise_and_bound_train_another_s_model(model: Theirs) -> None:
    generator = torch.Generator().manual_seed(0)
    text = torch.ones_like(TOKENS, dtype=torch.bool)
    noised = masked_noise({"tokens": TOKENS}, text, V - 1, generator, eps=1e-3, stratified=True)

    def head(read: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        nats = nn.functional.cross_entropy(model.head(read), targets, reduction="none")
        return (nats * weight).sum(), nats.detach()

    loss, nats = bound(head, model(noised.tokens), noised, TOKENS.numel())
    torch.autograd.backward(loss)
    weights = noised.weight[noised.masked]
    assert float(loss.detach()) == pytest.approx(float((nats * weights).sum()) / TOKENS.numel())
    assert model.embed.weight.grad is not None


def test_every_public_part_is_there() -> None:
    assert all(callable(getattr(feedback, name)) for name in feedback.__all__ if name != "FAMILY")
