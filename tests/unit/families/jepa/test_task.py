"""The task against models whose answers are known: one that sees, one that is blind."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weft import api
from weft.data.random import stream
from weft.data.source import Splits
from weft.engine.loop import evaluate
from weft.engine.parts import Parts
from weft.engine.profile import cost
from weft.engine.step import Stepper
from weft.errors import ConfigError, DeviceError
from weft.families.jepa import FAMILY
from weft.families.jepa.data import scene_of
from weft.families.jepa.score.guess import guess_px2
from weft.families.jepa.score.readout import Reading
from weft.families.jepa.sets.dots import DotsSource

TINY = ("model.embedding_size=8", "batch_size=4", "dataset_size=64", "val_dataset_size=40",
        "norm_batches=2", "probe.size=40", "probe.batch_size=20", "eval.batch_size=16",
        "steps=2", "eval.every=2 steps", "log.every=1", "log.tensorboard=false")  # fmt: skip


def parts_of(*words: str, **values: Any) -> Parts:
    return Parts.of(FAMILY, api.configure("jepa/clean", *TINY, *words, **values).config)


def metrics(parts: Parts, data: Splits, model: nn.Module) -> dict[str, float]:
    return evaluate(parts, model, data, "test", 0)


class Seer(nn.Module):
    """Codes are positions: the centre of brightness, moved by the actions and stopped by walls."""

    burnin = 1

    def __init__(self, source: DotsSource) -> None:
        super().__init__()
        self.source = source
        self.unused = nn.Parameter(torch.zeros(()))

    def encode(self, image: Tensor) -> Tensor:
        norm = self.source.norm
        light = image.transpose(0, 1)[:, :, 0] * norm.image_scale + norm.image_centre
        pixel = torch.arange(28.0)
        total = light.sum((-2, -1))
        x, y = (light.sum(-2) * pixel).sum(-1) / total, (light.sum(-1) * pixel).sum(-1) / total
        return norm.location(torch.stack([x, y], dim=-1))

    def rollout(self, e_0: Tensor, action: Tensor) -> Tensor:
        norm, scene = self.source.norm, self.source.scene
        low, high = (norm.location(torch.tensor(w)).item() for w in (scene.low, scene.high))
        places = [e_0 if e_0.dim() == 2 else e_0[-1]]
        for a in action.unbind(1):
            step = a * norm.action_scale / norm.location_scale
            places.append((places[-1] + step).clamp(low, high))
        return torch.stack(places)


class Blind(Seer):
    """Codes say nothing."""

    def encode(self, image: Tensor) -> Tensor:
        return torch.zeros(image.shape[1], image.shape[0], 2)

    def rollout(self, e_0: Tensor, action: Tensor) -> Tensor:
        return torch.zeros(action.shape[1] + 1, action.shape[0], 2)


@pytest.mark.parametrize(("kind", "bound"), [("closed_form", 0.1), ("published", 0.3)])
def test_a_model_that_tracks_the_dot_scores_near_zero(kind: str, bound: float) -> None:
    adam = ("probe.lr=0.05", "probe.epochs=100", "probe.epochs_enc=100")
    parts = parts_of(f"probe.kind={kind}", *adam, "probe.mpc=true", "probe.mpc_lr=0.01")
    data = parts.data()
    found = metrics(parts, data, Seer(data.test))
    assert found["test/rmse_px"] < bound
    assert found["test/enc_rmse_px"] < bound
    assert found["test/step_rmse_px_16"] < bound
    # It can also be steered to where one wants the dot.
    assert found["test/mpc_miss_px"] < 0.4
    assert found["test/mpc_success"] == 1.0
    assert found["test/mpc_still_px"] > 5
    assert set(found) >= {"test/mpc_seconds"}


def test_shifts_of_what_a_dot_looks_like_leave_a_model_that_tracks_it_alone() -> None:
    parts = parts_of("probe.shifts=true")
    data = parts.data()
    found = metrics(parts, data, Seer(data.test))
    shifts = {name: value for name, value in found.items() if "shift_rmse_px" in name}
    assert len(shifts) == 6
    assert max(shifts.values()) < 0.1
    assert all(any(m.covers(name) for m in parts.task.metrics) for name in found)


def test_the_encoder_of_supervised_is_trained_on_for_its_own_score_as_published() -> None:
    words = ("objective=supervised", "probe.lr=0.01", "probe.epochs_enc=60", "diagnostics=off")
    found, weights = [], []
    for tune in ("false", "true"):
        parts = parts_of(*words, f"supervised.tune_encoder={tune}")
        model = parts.model().eval()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        found.append(evaluate(parts, model, parts.data(), "test", 0))
        weights.append(all(torch.equal(before[n], v) for n, v in model.state_dict().items()))
    assert weights == [True, True]
    read, tuned = found
    assert tuned["test/enc_rmse_px"] < 0.8 * read["test/enc_rmse_px"]
    assert tuned["test/rmse_px"] == read["test/rmse_px"]


def test_a_blind_model_scores_as_a_guess_of_the_centre() -> None:
    parts = parts_of("val_dataset_size=2000")
    data = parts.data()
    found = metrics(parts, data, Blind(data.test))
    assert found["test/step_rmse_px_0"] == pytest.approx(math.sqrt(2 / 12) * 21.8, abs=0.15)
    assert found["test/enc_rmse_px"] == found["test/step_rmse_px_0"]
    assert found["test/rmse_px"] > 8.8


def test_raw_units_give_the_same_error_in_pixels() -> None:
    parts = parts_of("dataset_normalize=false")
    data = parts.data()
    assert data.test.norm.location_scale == 1.0
    assert metrics(parts, data, Seer(data.test))["test/rmse_px"] < 0.1


def test_frames_and_dots_are_told_apart_as_asked_for() -> None:
    parts = parts_of("dataset_type=Multiple", "diagnostics=full")
    found = metrics(parts, parts.data(), parts.model())
    assert {key for key in found if "dot" in key} == {f"test/dot_rmse_px_{k}" for k in (1, 2, 3)}
    assert {key for key in found if "step" in key} == {f"test/step_rmse_px_{t}" for t in range(17)}
    squares = [found[f"test/dot_rmse_px_{k}"] ** 2 for k in (1, 2, 3)]
    assert found["test/rmse_px"] ** 2 == pytest.approx(sum(squares) / 3)
    brief = parts_of()
    steps = {key for key in metrics(brief, brief.data(), brief.model()) if "step" in key}
    assert steps == {f"test/step_rmse_px_{t}" for t in (0, 1, 2, 4, 8, 16)}


def test_a_burn_in_is_read_and_not_scored() -> None:
    parts = parts_of("model.rnn_burnin=3", "n_steps=6", "val_n_steps=5", "diagnostics=full")
    data = parts.data()
    assert parts.spec.fields["image"].shape[0] == 8
    found = metrics(parts, data, parts.model())
    assert {key for key in found if "step" in key} == {f"test/step_rmse_px_{t}" for t in range(5)}


def test_supervised_is_scored_by_its_own_read_out_and_with_batch_statistics() -> None:
    parts = parts_of("objective=supervised")
    data, model = parts.data(), parts.model()
    nn.init.zeros_(model.position_head.weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = metrics(parts, data, model)
    assert found["test/rmse_px"] == found["test/batch_norm_rmse_px"] > 8
    assert found["test/enc_rmse_px"] != found["test/rmse_px"]
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def step_once(parts: Parts) -> tuple[Stepper, dict[str, Tensor]]:
    data, stepper = parts.data(), Stepper(parts, parts.model())
    batch = data.train.take(data.train.plan(0, 0)[0], stream(0, 0, "data"))
    return stepper, stepper([batch], parts.context(0))


def test_the_rate_of_lars_grows_with_the_batch() -> None:
    optim = {"optim": {"kind": "lars", "base_lr": 0.5}}
    stepper, _ = step_once(parts_of("batch_size=8", **optim))
    assert stepper.peaks == [0.5 * 8 / 256]
    assert step_once(parts_of("optim.lr=0.25"))[0].peaks == [0.25]


@pytest.mark.parametrize("optim", [{"kind": "lars"}, {"kind": "adam"}])
def test_random_trains_nothing(optim: dict[str, str]) -> None:
    parts = parts_of("objective=random", optim=optim)
    before = {name: tensor.clone() for name, tensor in parts.model().state_dict().items()}
    stepper, _ = step_once(parts)
    after = stepper.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("objective", ["vicreg", "simclr", "idm", "combo", "rssm", "supervised"])
def test_every_objective_steps_and_says_what_its_codes_look_like(objective: str) -> None:
    _, scalars = step_once(parts_of(f"objective={objective}"))
    assert all(bool(torch.isfinite(value)) for value in scalars.values())
    kinds = {"h"} if objective == "supervised" else {"e", "h"}
    assert {f"{of}/{kind}" for of in ("static", "std", "cosine", "corr") for kind in kinds} <= set(
        scalars
    )
    assert all(0 <= float(scalars[f"static/{kind}"]) <= 1 + 1e-5 for kind in kinds)
    assert any(name.startswith("loss_") for name in scalars)


def test_diagnostics_are_left_out_where_nothing_is_logged_or_asked_for() -> None:
    parts = parts_of()
    data, model = parts.data(), parts.model()
    batch = data.train.take(data.train.plan(0, 0)[0], stream(0, 0, "data"))
    silent = parts.context(0, log=False)
    _, terms = parts.task.loss(model, batch, silent)
    assert set(terms) == {"loss_forward", "loss_std", "loss_cov"}
    off = parts_of("diagnostics=off")
    assert "static/e" not in step_once(off)[1]
    full = step_once(parts_of("diagnostics=full"))[1]
    assert {"std/e_7", "std/e_unit_15", "norm/h_0"} <= set(full)


def test_the_probe_s_episodes_are_its_own_and_stay_the_same(monkeypatch: Any) -> None:
    parts = parts_of()
    data, model = parts.data(), parts.model()
    seen: list[Tensor] = []
    pairs = Reading.pairs

    def watched(self: Reading, batches: Any) -> Any:
        for codes, locations in pairs(self, batches):
            seen.append(locations.clone())
            yield codes, locations

    monkeypatch.setattr(Reading, "pairs", watched)
    for step in (0, 5):
        evaluate(parts, model, data, "test", step)
    half = len(seen) // 2
    assert all(torch.equal(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))
    learnt, scored = torch.cat(seen[:2], 1), torch.cat(seen[2:half], 1)
    assert learnt.shape == scored.shape == (17, 40, 1, 2)
    assert not torch.isclose(learnt[0, :, None, 0], scored[0, None, :, 0]).all(-1).any()


def test_costs_are_counted_without_content_where_directions_are_drawn() -> None:
    sigreg, plain = (cost(parts_of("objective=combo", *words))
                     for words in (("terms.sigreg=1",), ()))  # fmt: skip
    assert sigreg.flops_per_step > plain.flops_per_step > 0


@pytest.mark.parametrize(
    ("words", "extra"),
    [((), set()), (("objective=rssm",), {"reconstructions"}),
     (("objective=combo", "terms.decoding=1", "model.rnn_burnin=2"), {"reconstructions"})],
)  # fmt: skip
def test_samples_show_paths_film_error_and_what_is_decoded(
    words: tuple[str, ...], extra: set[str]
) -> None:
    parts = parts_of(*words)
    model, data = parts.model().eval(), parts.data()
    with torch.no_grad():
        found = {name for name, _, _ in parts.task.sample(model, data, parts.context(1))}
    assert found == {"rollouts", "film", "error_over_time", "episode"} | extra


@pytest.mark.parametrize("burnin", [1, 3])
def test_guessing_is_drawn_from_the_frame_that_rollouts_begin_at(burnin: int) -> None:
    parts = parts_of(f"model.rnn_burnin={burnin}")
    history = [{"step": step, "val/step_rmse_px_0": 9.0} for step in (1, 2)]
    [(_, _, figure)] = parts.task.figures(history)
    drawn = figure.axes[0].lines[-1].get_ydata()
    scene = scene_of(parts.config, 17 + burnin - 1)
    assert list(drawn) == [frame[0] ** 0.5 for frame in guess_px2(scene)[burnin - 1 :]]


def test_several_processes_are_refused(workspace: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be split"):
        api.train("jepa/clean", *TINY, "engine.accumulation=2", report=False)
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model.channels=3",), "set `dataset_type` to Multiple"),
        (("model.predictor=id", "model.rnn_burnin=2"), "needs `model.predictor` rnn"),
        (("batch_size=65",), "must not exceed `dataset_size` 64"),
        (("probe.prober_arch=16",), "set `probe.kind` to published"),
        (("objective=rssm", "model.predictor=id"), "brings its own forward model"),
        (
            ("objective=combo", "terms.idm=0", "terms.within_infonce=0", "terms.var_ratio=0",
             "terms.forward=0"),
            "needs a weight above 0",
        ),
        (("noise=fixed_uniform", "dataset_noise=1"), "already sets"),
        (("terms.within_infonc=1",), "did you mean `terms.within_infonce`?"),
        (("objective=rssm", "model.swap_ground=1"), "leave `model.swap_ground` at 0"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_together_are_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        api.configure("jepa/clean", *TINY, *words)
    assert message in str(caught.value)
