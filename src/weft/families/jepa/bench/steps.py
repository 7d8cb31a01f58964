"""Benchmark: training steps of the objectives against the reference, and the batches they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from weft.data.source import Batch
from weft.families.jepa import objective
from weft.families.jepa.bench.batches import data_cases
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec
from weft.families.jepa.model import Model, build_model
from weft.families.jepa.optim.lars import lars
from weft.families.jepa.options.sections import Lars
from weft.families.jepa.reference import frame_by_frame
from weft.nn.onednn import has_onednn
from weft.task.bench import Case, Form

_SLOW = 3
"""Windows of the reference, and of bf16 on a CPU without such instructions, where a step takes
eight times as long as in float32: with as many as the others they would take most of the time."""

_CPU = torch.device("cpu")

Replay = Callable[[], None]

Loss = Callable[[Model, Batch, Config, torch.Generator], tuple[Tensor, dict[str, Tensor]]]


def cases() -> Iterator[Case]:
    """Steps at the shapes of the published runs (menet5, w = 2, D = 512, T = 17), and batches.

    `vicreg-32` is a whole step with LARS; the cases of B = 16 are forward and backward only. The
    reference runs on contiguous memory in float32, one frame at a time outside the encoder. Where a
    GPU is at hand, forward and backward on it too, and the same recorded as a graph.
    """
    yield _case("vicreg-32", 32, {"objective": "vicreg"}, steps=True)
    yield _case("vicreg-16", 16, {"objective": "vicreg"})
    yield _case("idm-16", 16, {"objective": "idm"})
    yield _case("simclr-16", 16, {"objective": "simclr"})
    yield _case("combo-16", 16, {"objective": "combo"}, compared=False)
    yield _case("rssm-16", 16, {"objective": "rssm", "rssm": {"compat": True}})
    if torch.cuda.is_available():
        card = torch.device("cuda")
        yield _case("vicreg-32-cuda", 32, {"objective": "vicreg"}, device=card)
        yield _case("idm-32-cuda", 32, {"objective": "idm"}, device=card)
        yield _case(
            "rssm-32-cuda", 32, {"objective": "rssm", "rssm": {"compat": True}}, device=card
        )
    yield from data_cases()


def _case(
    name: str,
    batch_size: int,
    options: dict[str, Any],
    *,
    steps: bool = False,
    compared: bool = True,
    device: torch.device = _CPU,
) -> Case:
    config = Config(steps=1, batch_size=batch_size, **options)
    contiguous = config.model.model_copy(update={"channels_last": False})
    plain = config.model_copy(update={"model": contiguous})
    ours = partial(_form, objective.loss, config, steps, device=device)
    forms: dict[str, Callable[[], Form]] = {"weft": ours, "weft-bf16": partial(ours, bf16=True)}
    if device.type == "cuda":
        forms["weft-bf16-graph"] = partial(ours, bf16=True, recorded=True)
    if compared:
        forms["reference"] = partial(
            _form, frame_by_frame.loss, plain, steps, device=device, windows=_SLOW
        )
    return Case(name, forms, baselines=("reference",) if compared else ("weft",))


def _form(
    loss: Loss,
    config: Config,
    steps: bool,
    *,
    device: torch.device,
    bf16: bool = False,
    recorded: bool = False,
    windows: int = 20,
) -> Form:
    """Forward and backward on a fixed random batch, with an optimiser's step if `steps`; or, if
    `recorded`, forward and backward replayed from a CUDA graph."""
    spec = data_spec(config)
    torch.manual_seed(0)
    model = build_model(config, spec).to(device)
    batch = {
        name: torch.randn(*spec.batch_shape, *field.shape, device=device)
        for name, field in spec.fields.items()
    }
    optimiser = lars(Lars(base_lr=1e-3), [{"params": list(model.parameters())}])
    generator = torch.Generator(device)

    def slopes() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            value, _ = loss(model, batch, config, generator)
        value.backward()

    def step() -> None:
        optimiser.zero_grad()
        slopes()
        if steps:
            optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    if bf16 and device.type == "cpu" and not has_onednn(batch["image"], torch.bfloat16):
        windows = _SLOW
    with FlopCounterMode(display=False) as counter:
        step()
    take = _replayed(slopes, model, generator) if recorded else step
    return Form(take, counter.get_total_flops(), windows, steps_per_window=2, device=device.type)


def _replayed(slopes: Callable[[], None], model: Model, generator: torch.Generator) -> Replay:
    """What `slopes` launches, recorded once and replayed."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            model.zero_grad()
            slopes()
    model.zero_grad()
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph, stream=stream):
        slopes()

    def replay() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return replay
