"""Each of the original README's 32 parameters is accepted by its name and does what it says."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from weft import families
from weft.config.load import load
from weft.data.random import stream
from weft.errors import ConfigError, DataError
from weft.families.warp.config import Config
from weft.families.warp.options.sections import WarpData
from weft.families.warp.task import WarpTask
from weft.task.context import Context

BASE = (
    "warp/digits", "transition_init=identity", "mlp_hidden_size=3", "mlp_depth=1", "batch_size=8",
    "data.train_size=40", "data.test_size=8", "mini_res_mnist=2", "grounding_length=4",
    "eval.batch_size=8",
)  # fmt: skip

# README name, value, where it lands, what it becomes there.
LANDS = [
    ("seed", "7", "seed", 7),
    ("train", "True", "train", True),
    ("dataset", "mnist_fashion", "data.dataset", "fashion-mnist"),
    ("data_folder", "./data", "data.root", "./data"),
    ("supervision_task", "both", "supervision_task", "both"),
    ("mlp_hidden_size", "5", "mlp_hidden_size", 5),
    ("mlp_depth", "2", "mlp_depth", 2),
    ("rnn_inner_dims", "[4]", "rnn_inner_dims", (4,)),
    ("full_matrix_A", "False", "transition", "diag"),
    ("use_theta_prev", "True", "use_theta_prev", True),
    ("weights_lim", "0.2", "weights_lim", 0.2),
    ("mean_tanh_activation", "False", "root_final_activation", None),
    ("std_additional_tanh", "True", "std_additional_tanh", True),
    ("include_canonical_coords", "True", "include_canonical_coords", True),
    ("init_lr", "1e-5", "optim.lr", 1e-5),
    ("gradient_lim", "1e-2", "clip.limit", 1e-2),
    ("lr_decrease_factor", "0.3", "lr_decrease_factor", 0.3),
    ("nb_epochs", "500", "epochs", 500),
    ("batch_size", "16", "batch_size", 16),
    ("print_every", "100", "log.every", 100),
    ("unit_normalise", "True", "unit_normalise", True),
    ("grounding_length", "9", "grounding_length", 9),
    ("autoregressive_inference", "False", "autoregressive_inference", False),
    ("traj_train_prop", "0.5", "traj_train_prop", 0.5),
    ("nb_recons_loss_steps", "5", "nb_recons_loss_steps", 5),
    ("train_strategy", "teacher_forcing", "train_strategy", "teacher_forcing"),
    ("use_mse_loss", "True", "loss", "mse"),
    ("forcing_prob", "0.1", "forcing_prob", 0.1),
    ("std_lower_bound", "0.7", "std_lower_bound", 0.7),
    ("resolution", "[32, 16]", "data.resolution", (32, 16)),
    ("mini_res_mnist", "1", "data.downsample_factor", 1),
    ("image_datasets", "[cifar, mnist]", "data.image_datasets", ("cifar10", "mnist")),
]

# Those whose effect shows in a loss or a metric of one batch; the others have a test of their own.
COUNTS = {
    "seed", "supervision_task", "mlp_hidden_size", "mlp_depth", "rnn_inner_dims", "full_matrix_A",
    "use_theta_prev", "weights_lim", "mean_tanh_activation", "std_additional_tanh",
    "include_canonical_coords", "batch_size", "unit_normalise", "grounding_length",
    "autoregressive_inference", "traj_train_prop", "nb_recons_loss_steps", "train_strategy",
    "use_mse_loss", "forcing_prob", "std_lower_bound", "mini_res_mnist",
}  # fmt: skip


def resolve(*words: str) -> Config:
    config = load([*BASE, *words], families).config
    assert isinstance(config, Config)
    return config


@cache
def numbers(*words: str) -> tuple[float, ...]:
    """The loss of a training batch and the metrics of the test set, of weights off their start."""
    config = resolve(*words)
    task = WarpTask(config)
    torch.manual_seed(config.seed)
    model, data = task.model(task.spec()), task.data()
    # A = I and B = 0 at the start: the weights would not move, whatever the options.
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=noise)
    ctx = Context(config.seed, 5, 20, torch.device("cpu"))
    indices = data.train.plan(config.seed, 0)[0]
    batch = data.train.take(indices, stream(config.seed, 5, "data", device=ctx.device))
    loss, _ = task.loss(model, task.draw(batch, ctx), ctx)
    assert data.test is not None
    with torch.no_grad():
        metrics = task.evaluate(model.eval(), data.test, ctx)
    return (
        float(loss.detach()),
        *(metrics[name] for name in sorted(metrics) if name != "max_theta"),
    )


def test_the_readme_has_32_parameters() -> None:
    assert len({name for name, *_ in LANDS}) == len(LANDS) == 32


@pytest.mark.parametrize(("name", "text", "key", "value"), LANDS)
def test_a_parameter_lands_where_its_meaning_is(name: str, text: str, key: str, value: Any) -> None:
    found: Any = resolve(f"{name}={text}")
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize("word", [f"{name}={text}" for name, text, *_ in LANDS if name in COUNTS])
def test_a_parameter_changes_what_is_computed(word: str) -> None:
    assert numbers(word) != numbers()


def test_the_same_options_compute_the_same_numbers() -> None:
    assert numbers() == numbers("seed=0")


def test_inference_options_leave_training_alone() -> None:
    for word in ("grounding_length=9", "autoregressive_inference=False"):
        assert numbers(word)[0] == numbers()[0]
        assert numbers(word)[1:] != numbers()[1:]


def test_always_true_is_a_coin_that_never_fails() -> None:
    always = numbers("train_strategy=always_true")
    assert always == numbers("train_strategy=always_true", "forcing_prob=0.1")
    assert always[0] == pytest.approx(numbers("forcing_prob=1.0")[0], rel=1e-6)


def test_the_data_set_and_its_folder_are_looked_for() -> None:
    assert WarpTask(resolve("dataset=trends")).spec().num_classes == 6
    with pytest.raises(DataError, match="nowhere"):
        WarpTask(resolve("dataset=mnist", "data_folder=nowhere")).data()


def test_the_rate_falls_by_its_factor_on_a_plateau_and_only_there() -> None:
    plateau = resolve("schedule.kind=plateau", "lr_decrease_factor=0.3").schedule
    assert plateau.factor == 0.3  # type: ignore[attr-defined]
    assert resolve("lr_decrease_factor=0.3").schedule == resolve().schedule
    assert "no effect" in str(Config.model_fields["lr_decrease_factor"].description)


def test_resolution_is_celeba_s_alone() -> None:
    assert numbers("resolution=[32, 32]") == numbers()
    assert "celeba" in str(WarpData.model_fields["resolution"].description)


def test_pixels_have_coordinates_if_the_data_set_is_listed_as_images() -> None:
    resolve("include_canonical_coords=True", "image_datasets=[digits]")
    with pytest.raises(ConfigError, match="image_datasets"):
        resolve("include_canonical_coords=True", "image_datasets=[mnist]")


def test_train_false_is_for_the_script() -> None:
    with pytest.raises(ConfigError, match="weft evaluate RUN"):
        resolve("train=False")
