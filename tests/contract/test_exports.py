"""Every family's models leave as programs that give what the model gives, or say why not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from weft import api, families
from weft.cli import main
from weft.engine.parts import Parts
from weft.errors import MissingExtra, UsageError
from weft.run.directory import RunDirectory
from weft.run.exchange import program
from weft.run.exchange.program import ENDINGS, write_program
from weft.run.model import Trained
from weft.run.registry import Run
from weft.task.inference import Inference

HERE = ("engine.device=cpu", "data.download=false")
QUICK = ("cet/digits",)
SHORT = "mlp_hidden_size=4 mlp_depth=1 data.downsample_factor=3 grounding_length=3"
"""Options of a warp model of few steps: each is traced, one after the other."""
MODELS = {
    "cet/digits": "hidden_dim=8",
    "cet/digits arch=cnn": "hidden_dim=8",
    "cet/cartpole-delayed": "hidden_dim=8",
    "feedback/text": "model.n_layer=2 model.n_embd=16 model.n_head=2 data.block_size=16",
    "gaussvae/demo": "",
    "gaussvae/demo pool=attn": "",
    "gaussvae/pictures": "",
    "jepa/clean": "",
    "warp/digits-query": "",
    "warp/digits": f"{SHORT} weights_lim=1",
    "warp/digits autoregressive=false": SHORT,
    "warp/digits supervision_task=classification": f"{SHORT} init_state_layers=1",
}


def trained(recipe: str, small: str, folder: Path) -> Trained:
    """A model of the recipe, not as it was initialised: zeros would tell nothing."""
    config = api.configure(*recipe.split(), *small.split(), *HERE).config
    parts = Parts.of(families.find(config.family), config)
    model = parts.model().eval()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=noise))
    return Trained(RunDirectory(folder), parts, model, 0)


def inputs(inference: Inference, count: int) -> list[Tensor]:
    """Other numbers, and as many of them, as the example holds."""
    draws = torch.Generator().manual_seed(1)

    def like(example: Tensor) -> Tensor:
        shape = (count, *example.shape[1:])
        if example.is_floating_point():
            return torch.rand(shape, generator=draws)
        return torch.randint(40, shape, generator=draws)

    return [like(example) for example in inference.inputs.values()]


def listed(given: Any) -> list[Tensor]:
    return list(given) if isinstance(given, tuple) else [given]


def cases(quick: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(recipe, small, marks=[] if recipe in quick else [pytest.mark.slow])
        for recipe, small in MODELS.items()
    ]


@pytest.mark.parametrize(("recipe", "small"), cases(QUICK))
def test_a_program_of_torch_gives_what_the_model_gives_for_any_number_of_items(
    recipe: str, small: str, tmp_path: Path
) -> None:
    if "cartpole" in recipe:
        pytest.importorskip("gymnasium")
    whole = trained(recipe, small, tmp_path)
    inference = write_program(whole, "torch", tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for count in (2, 5):
        given = inputs(inference, count)
        with torch.no_grad():
            wanted = listed(inference.function(whole.model, *given))
        found = listed(program(*given))
        assert not any(part.requires_grad for part in found)
        assert len(wanted) == len(found) == len(inference.outputs)
        assert max(float(part.abs().max()) for part in wanted) > 0
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "small"), cases(()))
def test_onnxruntime_gives_what_the_model_gives(recipe: str, small: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    if "cartpole" in recipe:
        pytest.importorskip("gymnasium")
    whole = trained(recipe, small, tmp_path)
    inference = write_program(whole, "onnx", tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    config = json.loads(session.get_modelmeta().custom_metadata_map["weft"])
    assert config == whole.parts.config.plain()
    assert [out.name for out in session.get_outputs()] == list(inference.outputs)
    given = inputs(inference, 3)
    fed = dict(zip(inference.inputs, (part.numpy() for part in given), strict=True))
    found = [torch.from_numpy(part) for part in session.run(None, fed)]
    with torch.no_grad():
        wanted = listed(inference.function(whole.model, *given))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.fixture
def digits(workspace: Path, without_pictures: None) -> Run:
    run = api.train("cet/digits", "hidden_dim=8", "steps=2", *HERE, "log.tensorboard=false")
    assert run is not None
    return run


def test_the_command_writes_a_program_that_runs_without_weft(
    digits: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(digits.path)]) == 0
    file = Path(capsys.readouterr().out.strip())
    assert file == digits.path / f"model.{ENDINGS['torch']}"
    code = """if True:
        import sys, torch
        files = {"weft": ""}
        program = torch.export.load(sys.argv[1], extra_files=files).module()
        print(program(torch.zeros(3, 1, 8, 8)).shape, "weft" in sys.modules, files["weft"][:17])
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(file)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split("\n")[0] == 'torch.Size([3, 10]) False {"family": "cet",'


def test_a_form_that_is_none_and_a_family_without_one_are_told(
    digits: Run, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(digits.path), "--to", "onxx"]) == 2
    message = capsys.readouterr().err
    assert "cannot be exported as `onxx`" in message and "did you mean `onnx`?" in message
    run = api.train("toy/small", "steps=2", "log.tensorboard=false", report=False)
    assert run is not None
    assert main(["export", str(run.path)]) == 2
    assert "family `toy` has no inference function to export" in capsys.readouterr().err
    assert not list(run.path.glob("model.pt2*"))


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (
            "jepa/clean objective=rssm rssm.compat=true",
            "are random samples, not a function of its inputs",
        ),
        (
            "feedback/text base=x stage=feedback lora_rank=1 feedback_source=hidden "
            "feedback_error=gradient",
            "computes a gradient",
        ),
    ],
)
def test_a_model_that_cannot_says_why(recipe: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_program(trained(recipe, "", tmp_path), "torch", tmp_path / "model.pt2")
    assert why in str(caught.value)


def test_without_onnx_the_install_command_is_told_before_the_model_is_traced(
    digits: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(program, "_traced", lambda *_: pytest.fail("traced in vain"))
    with pytest.raises(MissingExtra) as caught:
        api.export(digits, to="onnx")
    assert caught.value.hint == "pip install 'weft[onnx]'"
