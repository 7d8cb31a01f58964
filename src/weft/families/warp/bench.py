"""Benchmark: forward and backward of the literal loop, the fast forms, and a GRU of equal size."""

# N batch, T steps, d channels, D weights, H state width of the GRU

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from weft.families.warp.forms import sequential
from weft.families.warp.forms.choose import FORMS, choose, refusal
from weft.families.warp.forms.cost import Machine, Problem
from weft.families.warp.forms.estimate import estimates
from weft.families.warp.rnn import WeightSpaceRNN
from weft.nn.dense import product
from weft.nn.onednn import has_onednn
from weft.task.bench import Case, Form

FORCING = 0.5
"""Share of the steps whose input is the truth, if predictions are fed back."""


@dataclass(frozen=True)
class Shape:
    """The shape of a case.

    Attributes:
        batch, steps, channels: N, T and d.
        options: of the `WeightSpaceRNN`.
        feedback: whether predictions are fed back; otherwise the last step's logits are read.
    """

    batch: int
    steps: int
    channels: int
    options: dict[str, Any]
    feedback: bool = False


def cases() -> Iterator[Case]:
    """Shapes of the published runs, and smaller ones for a few minutes on two cores.

    `auto-<form>` is the form that the cost model chooses, timed in 20 windows; slower ones are
    timed in 3 to 5, and in 2 on a GPU, where the four cases of 28x28 that do not clip take about a
    minute. The loop is left out at EigenWorms' full length, where its graph takes 4 GB; it is timed
    in the shorter `worms-1124`. The GRU has as many parameters and reads the true sequence
    at once. A GRU that feeds back its predictions could not, so that the comparison favours it.
    """
    image = {"uncertain": True, "final": "tanh", "std_lower_bound": 0.01}
    digit = {"output_size": 0, "classes": 10, "width": 32, "depth": 2}
    worm = {"output_size": 0, "classes": 5, "width": 128, "depth": 1}
    spring = {"width": 48}
    yield _case("mnist-14", Shape(128, 196, 1, image, feedback=True))
    yield _clipped("mnist-14-clip", Shape(128, 196, 1, {**image, "limit": 0.5}, feedback=True))
    yield _clipped("mnist-14-loose", Shape(128, 196, 1, {**image, "limit": 50.0}, feedback=True))
    if torch.cuda.is_available():
        for steps in (196, 784):
            size = f"mnist-{round(steps**0.5)}"
            clip, diagonal = {**image, "limit": 0.5}, {**image, "transition": "diag"}
            yield _replayed(f"{size}-cuda", Shape(640, steps, 1, image, True))
            yield _replayed(f"{size}-diag-cuda", Shape(640, steps, 1, diagonal, True))
            yield _replayed(f"{size}-clip-cuda", Shape(640, steps, 1, clip, True))
        for name, options in (("cuda", image), ("diag-cuda", diagonal)):
            small = Shape(128, 784, 1, options, True)
            yield _replayed(f"mnist-28-b128-{name}", small, eager=False)
    yield _case("class-784-b16", Shape(16, 784, 1, digit))
    yield _case("worms-1124", Shape(32, 1124, 6, worm))
    yield _case("worms-17984", Shape(32, 17984, 6, worm), loop=False, gru=False)
    yield _case("msd-64", Shape(16, 64, 2, spring, feedback=True))
    yield _case("mnist-28", Shape(32, 784, 1, image, feedback=True), full=True)
    yield _case("class-784", Shape(64, 784, 1, digit), full=True)
    yield _case("msd", Shape(16, 256, 2, spring, feedback=True), full=True)


def _case(
    name: str, shape: Shape, *, loop: bool = True, gru: bool = True, full: bool = False
) -> Case:
    problem = _problem(shape)
    chosen = choose(problem, Machine.of(torch.device("cpu"))).form
    # `sequential` is the loop's order; it is measured only if predictions are fed back.
    able = [
        form
        for form in FORMS
        if not refusal(problem, form) and (form != "sequential" or shape.feedback)
    ]
    built: dict[str, Callable[[], Form]] = {
        f"auto-{form}" if form == chosen else form: partial(
            _weights, shape, form, windows=20 if form == chosen else 5
        )
        for form in able
    }
    if not loop:
        built = {f"auto-{chosen}": built[f"auto-{chosen}"]}
    if loop:
        built["loop"] = partial(_weights, shape, "loop")
    if gru:
        built["gru"] = partial(_gru, shape)
    return Case(name, built, tuple(form for form in ("loop", "gru") if form in built), full)


def _clipped(name: str, shape: Shape) -> Case:
    """A case with clipped weights, as in the original.

    `loop` is the original's computation, a scan whose gradient by A is summed step by step; `again`
    is `sequential` if the weights of all steps are too large to store; `products` has only the
    three products of each step, a lower bound for sequential steps.
    """
    half = Shape(shape.batch, shape.steps, shape.channels, {**shape.options, "half": True}, True)
    forms: dict[str, Callable[[], Form]] = {
        "auto": partial(_weights, shape, "auto", windows=5),
        "sequential": partial(_weights, shape, "sequential", windows=5),
        "again": partial(_again, shape),
        "loop": partial(_weights, shape, "loop"),
        "products": partial(_products, shape),
    }
    if has_onednn(torch.zeros(1), torch.bfloat16):
        forms["bfloat16"] = partial(_weights, half, "sequential", windows=5)
    return Case(name, forms, ("loop", "products"))


def _again(shape: Shape) -> Form:
    """`sequential` that stores the weights of some steps only and computes the others again."""
    form = _weights(shape, "sequential")

    def step() -> None:
        stored, sequential.STORED = sequential.STORED, 0
        try:
            form.step()
        finally:
            sequential.STORED = stored

    return replace(form, step=step, windows=5)


def _products(shape: Shape) -> Form:
    """The products of `sequential` with a full A, and nothing else."""
    batch, size = shape.batch, _problem(shape).size
    E, states = torch.randn(size, size), torch.randn(batch, size)
    rows = torch.randn(max(batch, sequential.ROWS // batch * batch), size)

    def step() -> None:
        for _ in range(shape.steps):
            product(states, E)
            product(states, E.mT)
        for _ in range(-(-shape.steps * batch // len(rows))):
            product(rows.mT, rows.mT)

    return Form(step, 6 * batch * shape.steps * size**2, windows=5, steps_per_window=1)


def _replayed(name: str, shape: Shape, *, eager: bool = True) -> Case:
    """On a GPU: the loop, the chosen form if `eager`, and as a CUDA graph, in float32 and TF32."""
    forms = {
        "loop": partial(_on_gpu, shape, "loop", recorded=False, windows=2),
        "auto": partial(_on_gpu, shape, "auto", recorded=False, windows=2),
        "auto-recorded": partial(_on_gpu, shape, "auto", recorded=True),
        "auto-recorded-tf32": partial(_on_gpu, shape, "auto", recorded=True, precision="high"),
    }
    if not eager:
        del forms["auto"]
    return Case(name, forms, ("loop",))


def _on_gpu(
    shape: Shape, form: str, *, recorded: bool, precision: str = "highest", windows: int = 4
) -> Form:
    torch.manual_seed(0)
    model, x = _model(shape, form).cuda(), _sequences(shape).cuda()
    force = (torch.rand(x.shape[:2], device="cuda") < FORCING).float()

    def step() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        torch.set_float32_matmul_precision(precision)
        model(x, force=force)[0].square().mean().backward()
        torch.set_float32_matmul_precision("highest")

    run: Callable[[], object] = step
    if recorded:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            step()
        run = graph.replay

    def timed() -> None:
        run()
        torch.cuda.synchronize()

    machine = Machine.of(x.device)
    known = form if form == "loop" else choose(_problem(shape), machine).form
    flops = min(estimates(_problem(shape), known), key=lambda each: each.seconds(machine)).flops
    return Form(timed, int(flops), windows, steps_per_window=1, device="cuda")


def _model(shape: Shape, form: str) -> WeightSpaceRNN:
    return WeightSpaceRNN(
        shape.channels, length=shape.steps, drive_std=1e-3, form=form, **shape.options
    )


def _problem(shape: Shape) -> Problem:
    with torch.device("meta"):
        layer = _model(shape, "auto").layers[0]
    return Problem.of(
        layer, shape.batch, shape.steps, feedback=shape.feedback, last=not shape.feedback
    )


def _weights(shape: Shape, form: str, windows: int = 3) -> Form:
    torch.manual_seed(0)
    model, x = _model(shape, form), _sequences(shape)
    force = None
    if shape.feedback:
        force = (torch.rand(x.shape[:2]) < FORCING).float()

    def outputs() -> Tensor:
        out: Tensor = model(x, force=force, last=not shape.feedback)[0]
        return out

    machine = Machine.of(x.device)
    problem = _problem(shape)
    known = choose(problem, machine).form if form == "auto" else form
    flops = min(estimates(problem, known), key=lambda each: each.seconds(machine)).flops
    return _form(model, outputs, int(flops), windows)


def _peer(shape: Shape) -> nn.ModuleList:
    """A GRU and its affine map, with as many parameters as the weight-space model."""
    with torch.device("meta"):
        model = _model(shape, "auto")
    numbers = sum(parameter.numel() for parameter in model.parameters())
    outputs = model.head.outputs
    # 3 H^2 + (3 d + 6 + outputs) H + outputs numbers in all.
    linear = 3 * shape.channels + 6 + outputs
    width = round(((linear**2 + 12 * (numbers - outputs)) ** 0.5 - linear) / 6)
    rnn = nn.GRU(shape.channels, width, batch_first=True)
    return nn.ModuleList([rnn, nn.Linear(width, outputs)])


def _gru(shape: Shape) -> Form:
    torch.manual_seed(0)
    model, x = _peer(shape), _sequences(shape)
    rnn, read = model

    def outputs() -> Tensor:
        states = rnn(x)[0]
        out: Tensor = read(states if shape.feedback else states[:, -1:])
        return out

    products = sum(parameter.numel() for parameter in rnn.parameters() if parameter.dim() == 2)
    return _form(model, outputs, 6 * shape.batch * shape.steps * products, windows=3)


def _sequences(shape: Shape) -> Tensor:
    steps = torch.randn(shape.batch, shape.steps, shape.channels)
    return (steps.cumsum(1) / shape.steps**0.5).clamp(-1, 1)


def _form(model: nn.Module, outputs: Callable[[], Tensor], flops: int, windows: int) -> Form:
    def step() -> None:
        model.zero_grad()
        outputs().square().mean().backward()

    return Form(step, flops, windows, steps_per_window=1)
