"""The commands of the original gaussvae README run as printed and leave what it promises."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from weft import api
from weft.config.yaml import read_file
from weft.errors import ConfigError, UsageError
from weft.papers.gaussvae.config_file import OldConfig
from weft.papers.gaussvae.train import train_conv1d, train_resnet

PAPERS = Path(__file__).parents[3] / "papers" / "gaussvae"
RECORDS = Path(__file__).parents[2] / "oracle" / "gaussvae_records"
TRAIN = """python scripts/train_conv1d_vae.py \\
  --config configs/conv1d_512d_beta0.1.yaml \\
  --output experiments/run_004
"""
README_SCALARS = {
    "total_loss", "recon_loss", "kl_loss", "loss_xy", "loss_scale", "loss_rot", "loss_feat",
}  # fmt: skip
SMALL = [word for pair in ("data.splats=64", "data.items=40", "batch_size=8", "eval.pictures=4",
                           "latent_dim=4") for word in ("--set", pair)]  # fmt: skip


@pytest.fixture
def papers(workspace: Path) -> Path:
    """The folder of the scripts, as far as they read it."""
    Path("configs").symlink_to(PAPERS / "configs")
    return workspace


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """A config of the repository with some lines replaced."""

    def write(name: str, *changes: tuple[str, str]) -> Path:
        text = (PAPERS / "configs" / f"{name}.yaml").read_text()
        for pattern, line in changes:
            text, count = re.subn(rf"(?m)^( *){pattern}:.*$", rf"\g<1>{line}", text)
            assert count
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return path

    return write


def arguments(command: str) -> list[str]:
    return shlex.split(command)[2:]


def test_the_command_trains_and_leaves_logs_checkpoints_and_a_final_model(
    papers: Path, without_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train_conv1d([*arguments(TRAIN), "--verbose", "2", *SMALL, "--set", "epochs=2"]) == 0
    told = capsys.readouterr()
    assert "drawn by weft" in told.err
    lines = told.out.splitlines()[:2]
    assert [line.partition(" - ")[0] for line in lines] == ["Epoch 1/2", "Epoch 2/2"]
    run = Path("experiments/run_004")
    config, _ = read_file(run / "config.yaml")
    assert (config["beta"]["max"], config["optim"]["kind"]) == (0.1, "keras_adam")
    train, validation = (
        EventAccumulator(str(run / "logs" / name)).Reload() for name in ("train", "validation")
    )
    assert set(train.Tags()["scalars"]) == README_SCALARS | {"beta", "lr"}
    assert set(validation.Tags()["scalars"]) == README_SCALARS
    assert [event.value for event in train.Scalars("beta")] == pytest.approx([0.002, 0.004])
    assert [event.step for event in validation.Scalars("total_loss")] == [0, 1]
    names = [name for name, _ in api.load(run / "model.safetensors").named_parameters()]
    assert sorted(train.Tags()["histograms"]) == sorted(name.replace(".", "/") for name in names)
    assert list((run / "checkpoints").glob("step_*.pt"))
    final, model = (run / f"{name}model.safetensors" for name in ("final_", ""))
    assert final.read_bytes() == model.read_bytes()
    assert "recon_loss" in json.loads((run / "test_metrics.json").read_text())
    with np.load(run / "normalization_stats.npz") as file:
        assert file["mean"].shape == file["std"].shape == (8,)
        assert str(file["layout"]) == "rs"

    # What it left can be taken up: the same z-scores, for another run.
    words = ["--config", "configs/conv1d_base.yaml", "--output", "two", "--verbose", "0", *SMALL]
    words += ["--set", "epochs=1", "--set", f"data.stats={run / 'normalization_stats.npz'}"]
    assert train_conv1d(words) == 0
    assert capsys.readouterr().out.startswith("two")


def test_resume_goes_on_with_the_run_of_a_checkpoint(papers: Path, without_pictures: None) -> None:
    words = [*arguments(TRAIN), "--verbose", "0", *SMALL, "--set", "epochs=2"]
    with pytest.MonkeyPatch.context() as patch:
        _stopped_after(patch, rows=6)
        assert train_conv1d(words) == 143
    saved = min(Path("experiments/run_004/checkpoints").glob("step_*.pt"))
    assert train_conv1d(["--resume", str(saved), "--verbose", "0"]) == 0
    assert train_conv1d([*words, "--output", "straight"]) == 0
    ends = [json.loads((Path(f) / "test_metrics.json").read_text())
            for f in ("experiments/run_004", "straight")]  # fmt: skip
    assert ends[0] == ends[1]


def _stopped_after(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    import os
    import signal

    from weft.papers.gaussvae.layout import OriginalLayout

    original, seen = OriginalLayout.on_row, []

    def on_row(self: OriginalLayout, step: int, values: dict[str, float]) -> None:
        original(self, step, values)
        seen.append(step)
        if len(seen) == rows:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(OriginalLayout, "on_row", on_row)


CONFIGS = sorted((PAPERS / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_shipped_configs_are_the_original_s(path: Path) -> None:
    with np.load(RECORDS / "configs.npz") as file:
        wanted = json.loads(str(file["option"]))[path.stem]
    tree, _ = read_file(path)
    wanted["model"]["name"] = path.stem
    if path.stem == "conv1d_beta0.5":
        assert wanted["training"].pop("max_beta") == 1.0  # What the original forgot, and fell to.
        assert tree["training"].pop("max_beta") == 0.5
    assert {key: tree[key] for key in wanted} == wanted


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_shipped_configs_take_two_steps(
    path: Path, workspace: Path, without_pictures: None
) -> None:
    train = train_resnet if path.stem.startswith("resnet") else train_conv1d
    words = ["--config", str(path), "--output", "out", "--verbose", "0"]
    assert train([*words, "--set", "data.items=40", "--set", "steps=2"]) == 0


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("conv1d_base", "latent_dim", "latent_dims: 256", "there is no key `model.latent_dims`"),
        ("conv1d_base", "max_beta", "beta_max: 1.0", "there is no key `training.beta_max`"),
        ("conv1d_base", "output_dir", "out_dir: x", "there is no key `out_dir`"),
        ("resnet_conv1d_512d", "encoder_kernel_sizes", "encoder_kernel_sizes: [5, 5]",
         "`model.encoder_kernel_sizes` has 2 entries for 5 blocks"),
        ("resnet_conv1d_512d", "decoder_reshape_target", "decoder_reshape_target: [32, 500]",
         "`model.decoder_reshape_target` [32, 500] holds 16000 numbers"),
    ],
)  # fmt: skip
def test_unknown_keys_and_lists_that_do_not_fit_are_refused_by_name(
    written: Callable[..., Path], name: str, old: str, new: str, says: str
) -> None:
    path = written(name, (old, new))
    with pytest.raises(ConfigError) as caught:
        OldConfig(path)
    assert says in str(caught.value)
    assert f"{path}:" in str(caught.value)


def test_a_value_out_of_range_is_told_where_it_was_written(
    written: Callable[..., Path], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written("conv1d_base", ("latent_dim", "latent_dim: 0"))
    assert train_conv1d(["--config", str(path)]) == 2
    assert f"{path}:4, `model.latent_dim`" in capsys.readouterr().err


def test_the_output_follows_the_config_unless_it_is_given(tmp_path: Path) -> None:
    config = OldConfig(PAPERS / "configs" / "conv1d_512d.yaml")
    assert config.output == Path("experiments/conv1d_512d")
    with pytest.raises(UsageError, match="there is no file"):
        OldConfig(tmp_path / "nowhere.yaml")
