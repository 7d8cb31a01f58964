"""The language model: where deltas start, what trains, what an input can change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from weft.data.source import DataSpec
from weft.errors import ConfigError
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel, build_model, hide
from weft.families.feedback.nets.feedforward import rotation
from weft.families.feedback.nets.generator import Seen
from weft.families.feedback.nets.rows import Rows
from weft.task.parent import Parent

VOCAB, PAD, MASK = 13, 12, 11
NETWORK = {"n_layer": 2, "n_head": 2, "n_embd": 8, "dropout": 0.0}
FEEDBACK = {"stage": "feedback", "lora_rank": 2}
VARIANTS: dict[str, dict[str, object]] = {
    "tokens": {},
    "recurrent": {"recurrent": True, "feedback_reverse": False},
    "hidden": {"feedback_source": "hidden"},
    "both": {"feedback_source": "both", "recurrent": True, "share_embedding": False},
    "dynamic": {"delta_mode": "dynamic", "weight_positions": "fixed"},
    "mlp": {"feedback_target": "attn+mlp"},
    "gain": {"feedback_target": "attn+mlp+gain", "generator": "latent", "latents": 3},
    "latent": {"generator": "latent", "feedback_source": "both", "recurrent": True},
    "outer": {"generator": "outer", "feedback_source": "hidden"},
    "outer-gain": {
        "generator": "outer",
        "feedback_source": "both",
        "recurrent": True,
        "feedback_target": "attn+mlp+gain",
    },
    "large": {"lora_rank": 40},
    "assoc": {"generator": "assoc", "feedback_source": "hidden"},
    "assoc-error": {
        "generator": "assoc",
        "feedback_source": "both",
        "feedback_error": "gradient",
        "feedback_target": "attn+mlp",
    },
    "rounds": {
        "feedback_source": "hidden",
        "generator": "latent",
        "feedback_error": "prediction",
        "rounds": 3,
    },
}
Variants = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def _build(seed: int = 0, **options: object) -> LanguageModel:
    fields: dict[str, object] = {
        "steps": 1,
        "model": NETWORK,
        "data": {"block_size": 16},
        **options,
    }
    if fields.get("stage", "feedforward") != "feedforward":
        fields["base"] = "feedback/text"
    torch.manual_seed(seed)
    spec = DataSpec({}, (1,), 1, {}, num_classes=VOCAB)
    return build_model(Config.model_validate(fields), spec, MASK)


def _disturb(model: LanguageModel, *, scale: float = 0.3) -> LanguageModel:
    """The model in double precision with nothing left at its initial 0."""
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn_like(parameter)
    return model


def _tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(PAD, shape, generator=torch.Generator().manual_seed(seed))


@Variants
def test_deltas_start_at_zero_and_leave_logits_as_they_are_to_the_bit(
    options: dict[str, object],
) -> None:
    """To the bit as long as deltas go by their factors; materialised ones change the products."""
    wide = NETWORK | {"n_embd": 64, "dropout": 0.1}
    model, tokens = _build(**FEEDBACK | {"model": wide} | options), _tokens(3, 50)
    tokens[0, 40:] = PAD
    rows = Rows.of(tokens, PAD)
    for mode in (True, False):
        model.train(mode)
        adapted, plain = model(tokens, rows), model(tokens, rows, adapt=False)
        if options.get("lora_rank") == 40:
            torch.testing.assert_close(model.logits(adapted), model.logits(plain))
        else:
            assert torch.equal(model.logits(adapted), model.logits(plain))


@Variants
def test_every_trained_parameter_gets_a_gradient_and_no_frozen_one(
    options: dict[str, object],
) -> None:
    model, tokens = _disturb(_build(**FEEDBACK | options)), _tokens(3, 6)
    read = model(tokens, Rows.of(tokens, PAD))
    model.cross_entropy(read.flatten(0, 1), tokens.flatten(), torch.rand(18))[0].backward()
    for name, parameter in model.named_parameters():
        if name.startswith("base."):
            assert parameter.grad is None and not parameter.requires_grad, name
        else:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@Variants
def test_a_sample_s_result_depends_neither_on_its_batch_nor_on_padding(
    options: dict[str, object],
) -> None:
    model = _disturb(_build(**FEEDBACK | options))
    tokens = _tokens(3, 9)
    tokens[1, 5:] = PAD
    alone = model(tokens[1:2, :5], Rows())
    together = model(tokens, Rows.of(tokens, PAD))
    torch.testing.assert_close(together[1, :5], alone[0], rtol=1e-10, atol=1e-10)


@Variants
def test_shuffled_deltas_change_the_result_of_a_dynamic_model(options: dict[str, object]) -> None:
    model, tokens = _disturb(_build(**FEEDBACK | options)), _tokens(3, 6)
    rows = Rows()
    deltas = model.deltas(tokens, rows)
    assert deltas is not None
    own = model(tokens, rows)
    assert torch.equal(model(tokens, rows, deltas=deltas), own)
    assert not torch.allclose(model(tokens, rows, deltas=deltas.rolled()), own)


@pytest.mark.parametrize("target", ["attn", "attn+mlp", "attn+mlp+gain"])
@pytest.mark.parametrize(
    "stage", [{"stage": "static"}, {"stage": "feedback", "delta_mode": "static"}]
)
def test_shuffled_deltas_change_nothing_in_static_mode(
    stage: dict[str, object], target: str
) -> None:
    model = _disturb(_build(lora_rank=2, feedback_target=target, **stage))
    tokens, rows = _tokens(3, 6), Rows()
    deltas = model.deltas(tokens, rows)
    assert deltas is not None and model.generator is None
    own = model(tokens, rows)
    assert torch.equal(model(tokens, rows, deltas=deltas.rolled()), own)
    assert not torch.allclose(model(tokens, rows, adapt=False), own)


def test_compatible_weight_tokens_stand_after_the_padding() -> None:
    """A pitfall of the original that mode compat keeps: deltas depend on padding."""
    model = _disturb(_build(**FEEDBACK, mode="compat"))
    tokens = _tokens(1, 9)
    tokens[:, 5:] = PAD
    alone, padded = model(tokens[:, :5], Rows()), model(tokens, Rows.of(tokens, PAD))
    assert not torch.allclose(padded[:, :5], alone)


def test_a_frozen_network_stays_in_eval_mode_and_a_trained_one_does_not() -> None:
    frozen, tuned = _build(**FEEDBACK).train(), _build(stage="fine_tune").train()
    joint = _build(**FEEDBACK, joint=True, scope="all").train()
    assert frozen.training and not frozen.base.training
    assert tuned.base.training and joint.base.training
    assert not tuned.eval().base.training


@pytest.mark.parametrize("scope", ["attn", "all"])
def test_scope_says_which_feedforward_weights_train(scope: str) -> None:
    models = (_build(stage="fine_tune", scope=scope), _build(**FEEDBACK, joint=True, scope=scope))
    for model in models:
        trained = {n for n, p in model.base.named_parameters() if p.requires_grad}
        attn = {f"blocks.{i}.{name}" for i in range(2) for name in ("qkv", "out")}
        everything = {name for name, _ in model.base.named_parameters()}
        assert trained == (attn if scope == "attn" else everything)


def test_self_conditioning_starts_as_no_change_and_learns() -> None:
    model, tokens = _build(self_condition=True), _tokens(2, 5)
    rows = Rows()
    plain = model(tokens, rows)
    guess = torch.randn(2, 5, 8)
    assert torch.equal(model(tokens, rows, previous=guess), plain)
    # A layer norm's output sums to 0, so squares would have no gradient.
    model(tokens, rows, previous=guess)[..., 0].sum().backward()
    assert model.condition is not None and model.condition.grad is not None
    assert model.condition.grad.abs().max() > 0
    moved = _disturb(model)
    assert not torch.allclose(moved(tokens, rows, previous=guess.double()), moved(tokens, rows))


@pytest.mark.parametrize("condition", [False, True])
def test_a_base_fills_what_adapts_it(condition: bool, tmp_path: Path) -> None:
    base = _build(seed=1, self_condition=condition)
    child = _build(**FEEDBACK, self_condition=True)
    parent = Parent("base", tmp_path, "", Config(steps=1), base.state_dict)
    with torch.no_grad():
        parent.fill(child.inherited(condition=condition))
    tokens = _tokens(2, 5)
    assert torch.equal(child(tokens, Rows()), base(tokens, Rows()))
    with pytest.raises(ConfigError, match="do not fit"):
        parent.fill(child.inherited(condition=not condition))


def test_a_compiled_model_gives_the_same() -> None:
    model, tokens = _disturb(_build(**FEEDBACK, feedback_source="both")), _tokens(2, 6)
    rows = Rows.of(tokens, PAD)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens, rows), model(tokens, rows))


def test_bf16_stays_near_float32_and_keeps_master_weights() -> None:
    model, tokens = _build(**FEEDBACK, joint=True, scope="all"), _tokens(3, 6)
    exact = model(tokens, Rows())
    with torch.autocast("cpu", torch.bfloat16):
        read = model(tokens, Rows())
        loss, _ = model.cross_entropy(read.flatten(0, 1), tokens.flatten(), torch.ones(18))
    loss.backward()
    torch.testing.assert_close(read, exact, rtol=0, atol=5e-2)
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


@pytest.mark.parametrize(
    "rank",
    [pytest.param(64, marks=pytest.mark.slow), pytest.param(256, marks=pytest.mark.exhaustive)],
)
def test_recurrent_feedback_of_high_rank_stays_finite_and_adapts(rank: int) -> None:
    model = _build(**FEEDBACK | {"lora_rank": rank, "recurrent": True})
    tokens = _tokens(1, 10)
    noisy = tokens.masked_fill(torch.arange(10) % 2 == 0, PAD - 1)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4)
    losses = []
    for _ in range(200):
        optimiser.zero_grad()
        read = model(noisy, Rows()).flatten(0, 1)
        loss, _ = model.cross_entropy(read, tokens.flatten(), torch.full((10,), 1 / 10))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    assert all(loss < float("inf") for loss in losses)
    assert losses[-1] < losses[0]


def test_rounds_write_from_passes_under_the_deltas_of_the_round_before() -> None:
    options = FEEDBACK | {"generator": "assoc", "feedback_source": "hidden"}
    once, twice = (_disturb(_build(**options, rounds=n)) for n in (1, 2))
    twice.load_state_dict(once.state_dict())
    tokens, rows = _tokens(2, 6), Rows()
    first = once.deltas(tokens, rows)
    assert once.generator is not None and once.writer is not None
    with torch.no_grad():
        heard: list[Tensor] = []
        stream = once.base(tokens, rows, first, heard=heard)[1]
    turn = rotation(tokens, rows, once.base.size, torch.float64)
    seen = Seen(
        tokens,
        once.base.table,
        stream,
        rows,
        turn,
        heard=tuple(heard),
        shown=tokens != MASK,
    )
    again = once.writer(*once.generator(seen))
    expected = once(tokens, rows, deltas=again)
    torch.testing.assert_close(twice(tokens, rows), expected)
    assert not torch.allclose(once(tokens, rows), expected)


def test_an_error_is_what_the_head_should_have_read_less_what_it_did_where_text_was_hidden() -> (
    None
):
    options = FEEDBACK | {"generator": "assoc", "feedback_source": "hidden"}
    model = _disturb(_build(**options, feedback_error="prediction"))
    tokens, rows = _tokens(2, 9), Rows.of(torch.full((2, 9), PAD - 2), PAD)
    tokens[0, 3] = MASK
    hidden = hide(tokens, 0) & (tokens != MASK)
    assert 0 < int(hidden.sum()) < hidden.numel() - 1
    looked = model._look(tokens, rows, None, None, tokens != MASK, 0)
    stream, (error,) = looked.stream, looked.error
    shown = tokens.masked_fill(hidden, MASK)
    read, expected = model.base(shown, rows)
    torch.testing.assert_close(stream, expected)
    guess = (read @ model.base.table.t()).softmax(-1)
    off = model.base.table[tokens] - guess @ model.base.table
    torch.testing.assert_close(error, off * hidden[:, :, None])
    # The gradient's error: minus the slope of the loss at what was hidden, after the last block.
    model.error = "gradient"
    *_, slope = model._look(tokens, rows, None, None, tokens != MASK, 0).error
    last = stream[-1].detach().requires_grad_()
    logits = nn.functional.layer_norm(last, last.shape[-1:], eps=1e-5) @ model.base.table.t()
    loss = nn.functional.cross_entropy(logits[hidden], tokens[hidden], reduction="sum")
    torch.testing.assert_close(slope, -torch.autograd.grad(loss, last)[0])


def test_added_blocks_change_nothing_at_first_and_train_though_the_rest_is_frozen() -> None:
    plain = _build()
    model = _build(stage="fine_tune", scope="none", extra_layers=2)
    model.base.load_state_dict(plain.base.state_dict())
    tokens, rows = _tokens(2, 6), Rows()
    assert torch.equal(model(tokens, rows), plain(tokens, rows))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith("extra.") for name in trained)
    assert torch.equal(_disturb(model)(tokens, rows, adapt=False), model.base(tokens, rows)[0])
    with pytest.raises(ValidationError, match="extra_layers"):
        Config.model_validate({"stage": "fine_tune", "base": "x", "scope": "none", "steps": 1})
