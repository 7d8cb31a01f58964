"""Writes a trained model as a program that runs without weft: torch.export's, or ONNX."""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from weft.atomic import atomic_writer, destined, replacing
from weft.config.explain import suggest
from weft.config.family import resolve
from weft.config.place import told
from weft.engine.isolation import isolated
from weft.errors import MissingExtra, UsageError
from weft.families import find
from weft.run.model import Trained
from weft.run.registry import Run
from weft.run.resume import acceptable
from weft.task import calls
from weft.task.inference import Inference

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

ENDINGS = {"torch": "pt2", "onnx": "onnx"}
"""Formats that every family is exported in -> ending of the file."""

CONFIG = "weft"
"""Under this name the file holds the config as JSON: an extra file of torch's, a metadata property
of ONNX's."""


def export(
    run: Run,
    file: Path | str | None,
    to: str,
    checkpoint: str | None,
    accept: str | Collection[str],
    tell: Callable[[str], None],
) -> Path:
    """Writes a run's model in the format `to` and returns the file; arguments as for `weft.export`.

    Raises:
        UsageError: if there is no such format, or the model cannot be written in it.
    """
    own = find(run.family).exports
    known = [*ENDINGS, *own]
    if to not in known:
        raise UsageError(
            f"a run of family `{run.family}` cannot be exported as `{to}`",
            where="--to",
            expected=f"one of {', '.join(known)}",
            hint=suggest(to, known, ""),
        )
    path = Path(file) if file is not None else run.path / f"model.{ENDINGS.get(to, to)}"
    if to in own:
        resolve(own[to], f"export `{to}` of family `{run.family}`")(run, checkpoint, path)
    else:
        write_program(run.load(checkpoint, acceptable(accept), tell), to, path)
    return path


@isolated()
def write_program(trained: Trained, form: str, path: Path) -> Inference:
    """Writes the model's inference function, traced on the CPU for batches of any size.

    Args:
        trained: the model.
        form: `torch`: `torch.export.load(path).module()` takes it back; `onnx`: for onnxruntime and
            others.
        path: of the file.

    Returns: what was written.

    Raises:
        UsageError: if the family says that the model has no such function, or it cannot be traced.
        MissingExtra: if ONNX is asked for and its packages are not installed.
    """
    if form == "onnx":
        _check_onnx()  # Before the model is traced, which may take a minute.
    # Whoever runs the program need not think of `no_grad`, under which alone some of its operations
    # would take weights that ask for gradients.
    model = copy.deepcopy(trained.model).cpu().eval().requires_grad_(False)
    inference = calls.inference(trained.parts.task, model, trained.parts.spec)
    config = json.dumps(trained.parts.config.plain())
    program = _traced(model, inference, trained.parts.config.family)
    if form == "torch":
        # In memory first: on a full disk torch's writer would end the process.
        content = io.BytesIO()
        # It warns of weights on a GPU, of which there are none.
        with warnings.catch_warnings(action="ignore"):
            torch.export.save(program, content, extra_files={CONFIG: config})
        with atomic_writer(destined(path)) as file:
            file.write(content.getbuffer())
        return inference
    onnx = _onnx(program, inference)
    onnx.model.metadata_props[CONFIG] = config
    with replacing(destined(path)) as temporary:
        onnx.save(temporary)
    return inference


class _Program(nn.Module):
    """A model whose `forward` is its inference function."""

    def __init__(self, model: nn.Module, inference: Inference) -> None:
        super().__init__()
        self.model, self.function = model, inference.function

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The inference function's outputs."""
        return self.function(self.model, *inputs)


def _traced(model: nn.Module, inference: Inference, family: str) -> ExportedProgram:
    any_number = Dim("batch")
    dynamic = tuple({0: any_number} for _ in inference.inputs)
    inputs = tuple(inference.inputs.values())
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            return torch.export.export(
                _Program(model, inference).eval(), inputs, dynamic_shapes=(dynamic,), strict=False
            )
    # torch's tracer lets any error through.
    except Exception as error:
        raise UsageError(
            f"torch cannot export this model of family `{family}`: {told(error)}",
            hint="the weights alone are in the run's model.safetensors; `weft.load` reads them",
        ) from error


def _check_onnx() -> None:
    try:
        import onnx
        import onnxscript
    except ImportError as error:
        raise MissingExtra("onnxscript", "onnx", "--to onnx") from error
    del onnx, onnxscript


def _onnx(program: ExportedProgram, inference: Inference) -> ONNXProgram:
    # Silences a warning about torchvision, which nothing here needs.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=list(inference.inputs),
                output_names=list(inference.outputs),
            )
    except Exception as error:
        raise UsageError(
            f"ONNX has no form of this model: {told(error)}", hint="`--to torch` writes it"
        ) from error
    finally:
        logger.setLevel(level)
    assert made is not None
    return made
