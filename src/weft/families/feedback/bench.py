"""Benchmark: training steps in the fast form and in the original's, with and without padding."""

# B batch, T positions, V vocabulary, r rank

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from weft.data.source import DataSpec
from weft.families.feedback import reference
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel, build_model
from weft.families.feedback.nets.attend import attend
from weft.families.feedback.nets.rows import Rows, Sight
from weft.nn.onednn import has_onednn
from weft.nn.products import products_alone
from weft.task.bench import Case, Form

VOCAB = 50304
PAD = VOCAB - 1
LENGTH = 326
"""Mean length of the longest of 64 chunks of gsm8k, to which a batch is padded."""

LENGTHS = (326, 140, 100, 62)
"""Four chunks whose mean, 157 tokens, is that of gsm8k."""

ALIKE = (160, 158, 156, 154)
"""Four chunks with as many tokens together, as a bucket has them."""

Loss = Callable[[LanguageModel, dict[str, Tensor]], Tensor]


def cases() -> Iterator[Case]:
    """Whole steps (forward, backward, clip, AdamW) at the original's size, in float32.

    `ff` trains the feedforward network, `fb4` and `fb32` a feedback network of that rank; `b1` and
    `b4` are the batch size. `weft` computes what `reference` does; `stable` is the default mode,
    which reads tokens by the frozen embedding; `bf16` is `weft` under autocast, on CPUs that have
    kernels for it and on a GPU, whose cases end in `-cuda` and have the reference in bf16, too;
    `products` and `its-products` are the matrix products of `weft` and `reference` alone. All forms
    of `text-…` handle the same number of real tokens, 628: `reference` and `padded` in rows of 326,
    `weft` and `stable` in rows of like length or, for `ff`, packed into two rows. The reference, as
    the original, has fused attention, runs the unadapted network beside and takes gradients of the
    frozen weights. `attention` is that of one block with dropout, forward and backward; `torch` is
    torch's own.
    """
    ff: dict[str, Any] = {"stage": "feedforward"}
    for size in (1, 4):
        same = (LENGTH,) * size
        yield _case(f"ff-b{size}", ff, same, full=size > 1)
        for rank in (4, 32):
            yield _case(f"fb{rank}-b{size}", _feedback(rank), same, full=size > 1)
        yield Case(
            f"attention-b{size}",
            {
                "weft": partial(_attention, attend, size),
                "torch": partial(_attention, _torchs, size),
            },
            ("torch",),
        )
    if torch.cuda.is_available():
        for size in (1, 4):
            for name, options in (("ff", ff), ("fb4", _feedback(4)), ("fb32", _feedback(32))):
                yield _on_gpu(f"{name}-b{size}-cuda", options, (LENGTH,) * size)
    yield _text("text-ff", ff)
    yield _text("text-fb4", _feedback(4))


def _feedback(rank: int) -> dict[str, Any]:
    return {"stage": "feedback", "mode": "compat", "base": "feedback/text", "lora_rank": rank}


def _case(name: str, options: dict[str, Any], lengths: tuple[int, ...], *, full: bool) -> Case:
    forms: dict[str, Callable[[], Form]] = {
        "weft": partial(_form, _fast, options, _padded(lengths)),
        "reference": partial(_form, _reference, options, _padded(lengths), windows=3),
        "products": partial(_products, _fast, options, _padded(lengths)),
        "its-products": partial(_products, _reference, options, _padded(lengths), windows=3),
    }
    if options["stage"] == "feedback":
        stable = options | {"mode": "stable"}
        forms["stable"] = partial(_form, _fast, stable, _padded(lengths))
    if has_onednn(torch.empty(0), torch.bfloat16):
        forms["bf16"] = partial(_form, _fast, options, _padded(lengths), bf16=True)
    return Case(name, forms, ("reference",), full)


def _on_gpu(name: str, options: dict[str, Any], lengths: tuple[int, ...]) -> Case:
    form = partial(_form, batch=_padded(lengths), windows=10, device="cuda")
    # As in the original, padding is text; else attention takes a mask, as nobody asks a GPU whether
    # there is any.
    fast = partial(_fast, pad=None)
    forms: dict[str, Callable[[], Form]] = {
        "weft": partial(form, fast, options),
        "bf16": partial(form, fast, options, bf16=True),
        "reference": partial(form, _reference, options),
        "reference-bf16": partial(form, _reference, options, bf16=True),
    }
    if options["stage"] == "feedback":
        stable = options | {"mode": "stable"}
        forms["stable"] = partial(form, _fast, stable)
        forms["stable-bf16"] = partial(form, _fast, stable, bf16=True)
    return Case(name, forms, ("reference", "reference-bf16"))


def _text(name: str, options: dict[str, Any]) -> Case:
    forms: dict[str, Callable[[], Form]] = {
        "weft": partial(_form, _fast, options, _padded(ALIKE)),
        "padded": partial(_form, _fast, options, _padded(LENGTHS)),
        "reference": partial(_form, _reference, options, _padded(LENGTHS), windows=3),
    }
    if options["stage"] == "feedback":
        forms["stable"] = partial(_form, _fast, options | {"mode": "stable"}, _padded(ALIKE))
    else:
        forms["weft"] = partial(_form, _fast, options, _packed(LENGTHS, rows=2))
    return Case(name, forms, ("reference", "padded"), full=True)


def _padded(lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """One chunk a row."""
    width = max(lengths)
    real = torch.arange(width) < torch.tensor(lengths)[:, None]
    return {"tokens": _tokens(real)}


def _packed(lengths: tuple[int, ...], rows: int) -> dict[str, Tensor]:
    """Chunks one after another, in rows of equal length."""
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    position = torch.cat([torch.arange(length) for length in lengths])
    document, position = document.view(rows, -1), position.view(rows, -1)
    return {
        "tokens": _tokens(document >= 0),
        "document": document - document[:, :1],
        "position": position,
    }


def _tokens(real: Tensor) -> Tensor:
    tokens = torch.randint(VOCAB - 2, real.shape, generator=torch.Generator().manual_seed(0))
    return tokens.masked_fill(~real, PAD)


def _fast(model: LanguageModel, batch: dict[str, Tensor], pad: int | None = PAD) -> Tensor:
    clean, masked = batch["tokens"], batch["masked"]
    noisy = clean.masked_fill(masked, VOCAB - 2)
    rows = Rows.of(noisy, pad, batch.get("document"), batch.get("position"))
    hits = masked.flatten().nonzero()[:, 0]
    read = model(noisy, rows, at=None if clean.is_cuda else hits)
    read = read if read.dim() == 2 else read.flatten(0, 1)[hits]
    targets = clean.flatten()[hits]
    weight = torch.full(targets.shape, 2.0 / clean.numel(), device=clean.device)
    return model.cross_entropy(read, targets, weight)[0]


def _reference(model: LanguageModel, batch: dict[str, Tensor]) -> Tensor:
    clean, masked = batch["tokens"], batch["masked"]
    noisy = clean.masked_fill(masked, VOCAB - 2)
    if model.generator is not None:
        with torch.no_grad():
            reference.feedforward(model.base, noisy)
    return reference.loss(model, noisy, clean, masked, torch.tensor(0.5))


def _torchs(q: Tensor, k: Tensor, v: Tensor, _: Sight, p: float) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, dropout_p=p).transpose(1, 2).flatten(2)


def _attention(way: Callable[..., Tensor], size: int) -> Form:
    """Attention of 8 heads of 32 with a tenth of the softmax dropped, and its gradients."""
    read = torch.randn(size, LENGTH, 3, 8, 32, generator=torch.Generator().manual_seed(0))
    read.requires_grad_()
    grad = torch.ones(size, LENGTH, 256)

    def step() -> None:
        read.grad = None
        way(*read.unbind(2), Sight(), 0.1).backward(grad)

    return Form(step)


def _clip(trained: list[nn.Parameter]) -> None:
    """As the loop clips: gradients are not multiplied by 1."""
    norms = torch._foreach_norm([p.grad for p in trained if p.grad is not None])
    factor = 1 / (torch.linalg.vector_norm(torch.stack(norms)) + 1e-6)
    if factor.device.type != "cpu" or factor < 1:
        torch._foreach_mul_([p.grad for p in trained if p.grad is not None], factor.clamp(max=1.0))


def _clip_as_original(trained: list[nn.Parameter]) -> None:
    torch.nn.utils.clip_grad_norm_(trained, 1.0)


def _form(
    loss: Loss,
    options: dict[str, Any],
    batch: dict[str, Tensor],
    windows: int = 20,
    device: str = "cpu",
    bf16: bool = False,
) -> Form:
    """A step on a fixed batch of which half the tokens are masked."""
    tokens = batch["tokens"]
    config = Config.model_validate({"steps": 1, **options})
    torch.manual_seed(0)
    model = build_model(config, DataSpec({}, (len(tokens),), 1, {}, num_classes=VOCAB)).to(device)
    trained = [p for p in model.parameters() if p.requires_grad]
    if loss is _reference:
        model.requires_grad_()
    coin = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    batch = {**batch, "masked": coin & (tokens != PAD)}
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    optimiser = torch.optim.AdamW(trained, lr=3e-4, weight_decay=0.01, fused=True)
    model.train()
    clip = _clip_as_original if loss is _reference else _clip

    def step() -> None:
        model.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            total = loss(model, batch)
        total.backward()
        clip(trained)
        optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()

    with FlopCounterMode(display=False) as counter:
        step()
    return Form(step, counter.get_total_flops(), windows, steps_per_window=1, device=device)


def _products(
    loss: Loss, options: dict[str, Any], batch: dict[str, Tensor], windows: int = 5
) -> Form:
    """The matrix products of `_form`'s step, and nothing else of it."""
    whole = _form(loss, options, batch, windows)
    return replace(whole, step=products_alone(whole.step))
