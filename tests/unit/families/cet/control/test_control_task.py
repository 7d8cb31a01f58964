"""Learning to act: what a step learns from, whom it is judged by, and the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from weft import api, families
from weft.data.source import Batch
from weft.engine.parts import Parts
from weft.engine.profile import cost
from weft.families.cet.control.agent import Agent
from weft.families.cet.control.experience import act
from weft.families.cet.control.task import ControlTask
from weft.families.cet.control.turns import EPOCH
from weft.testing.contract import CHECKS, PRESET_CHECKS, Check, name_of
from weft.testing.contract import check_samples_and_report_are_drawn as draws
from weft.testing.contract import check_steps_on_one_batch_lower_the_loss as lowers_the_loss

pytest.importorskip("gymnasium", reason="the extra `rl` is not installed")

TINY = ("streams=2", "batch_size=4", "hidden_dim=6", "delay=3", "order=2", "control.episodes=2")


def made(*words: str, double: bool = False) -> tuple[Parts, ControlTask, Agent, Batch]:
    config = api.configure("cet/cartpole-delayed", "engine.device=cpu", *TINY, *words).config
    parts = Parts.of(families.find("cet"), config)
    task, model, train = parts.task, parts.model(), parts.data().train
    assert isinstance(task, ControlTask) and isinstance(model, Agent)
    batch = train.take(train.plan(0, 0)[0], torch.Generator().manual_seed(0))
    return parts, task, model.train(), batch


def gradients(parts: Parts, model: Agent, batch: Batch) -> dict[str, Tensor]:
    model.zero_grad()
    loss, _ = parts.task.loss(model, batch, parts.context(0))
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_what_follows_an_action_is_what_the_next_one_sees_unless_the_episode_ended() -> None:
    _, _, model, _ = made("batch_size=80")
    done = act(model, torch.rand(2, 80, generator=torch.Generator().manual_seed(1)))
    ends = done.done[:, :-1]
    assert ends.any() and done.action.float().std() > 0
    goes_on = (done.following[:, :-1] == done.observation[:, 1:]).all(-1)
    assert torch.equal(goes_on, ~ends)
    assert torch.equal(done.reward, torch.ones(2, 80))
    later = act(model, torch.rand(2, 80, generator=torch.Generator().manual_seed(2)))
    last = done.following[:, -1][~done.done[:, -1]]
    assert torch.equal(last, later.observation[:, 0][~done.done[:, -1]])


def test_without_delay_the_update_is_that_of_back_propagation() -> None:
    parts, task, model, batch = made("delay=0")
    found = gradients(parts, model, batch)
    parts, task, model, batch = made("delay=0")
    loss, _ = task.loss(model, batch, parts.context(0))
    plain = torch.autograd.grad(loss, list(model.parameters()))
    for (name, _), expected in zip(model.named_parameters(), plain, strict=True):
        assert torch.equal(found[name], expected), name
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


def test_a_perfect_memory_brings_each_batch_s_errors_a_batch_later() -> None:
    # A delay as long as a batch: the second update is the gradient of the first batch.
    words = ("delay=4", "kernel=ideal")
    parts, _, model, batch = made(*words)
    first = gradients(parts, model, batch)
    second = gradients(parts, model, batch)
    plain_parts, _, plain, _ = made("delay=0")
    expected = gradients(plain_parts, plain, batch)
    for name, gradient in expected.items():
        assert float(first[name].abs().max()) == 0, name
        torch.testing.assert_close(second[name], gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_the_return_at_random_is_the_same_for_every_run_and_below_a_trained_one_s_bound() -> None:
    values = []
    for seed in (0, 1):
        parts, task, model, _ = made(f"seed={seed}")
        data = parts.data()
        assert data.val is not None and data.test is not None
        assert not set(data.val.seeds.tolist()) & set(data.test.seeds.tolist())
        with torch.no_grad():
            found = task.evaluate(model.eval(), data.val, parts.context(0))
        assert found["return"] == found["length"]  # CartPole gives one a step.
        assert 8 < found["random"] < 100
        values.append(found["random"])
    assert values[0] == values[1]


def test_a_dry_run_counts_acting_and_learning() -> None:
    parts, _, model, _ = made()
    dense = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    actor = sum(p.numel() for p in model.actor.parameters() if p.dim() == 2)
    critic = dense - actor
    rows = 2 * 4
    acting_and_judging = 2 * rows * (actor + critic)  # the policy, and the critic of what followed
    forward = 2 * rows * dense
    counted = cost(parts).flops_per_step
    assert counted > acting_and_judging + 2 * forward
    assert parts.plan.batches_per_epoch == EPOCH


def test_track_sim_compares_and_changes_no_update() -> None:
    parts, task, model, batch = made()
    gradients(parts, model, batch)
    plain = gradients(parts, model, batch)
    assert task.scalars(model) == {}
    parts, task, model, batch = made("track_sim=true", "kernel=ideal")
    gradients(parts, model, batch)
    gradients(parts, model, batch)
    scalars = task.scalars(model)
    assert float(scalars["sim/actor.w1"]) == pytest.approx(1, abs=1e-5)
    assert float(scalars["gain/critic.w3"]) == pytest.approx(1, abs=1e-5)
    parts, task, model, batch = made("track_sim=true")
    gradients(parts, model, batch)
    again = gradients(parts, model, batch)
    assert all(torch.equal(plain[name], again[name]) for name in plain)


@pytest.mark.gpu
def test_a_gpu_acts_and_learns_as_the_cpu_does_from_the_same_chance() -> None:
    parts, _, model, batch = made()
    expected = [gradients(parts, model, batch) for _ in range(2)][1]
    parts, task, model, _ = made("engine.device=cuda")
    there = {name: value.cuda() for name, value in batch.items()}
    found = [gradients(parts, model, there) for _ in range(2)][1]
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name].cpu(), gradient, rtol=1e-3, atol=1e-5, msg=name)
    data = parts.data()
    assert data.val is not None
    with torch.no_grad():
        measured = task.evaluate(model.eval(), data.val, parts.context(0))
    assert measured["return"] == measured["length"] > 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


# A policy's loss is no measure of it: its advantages are weighed anew in each batch.
KEPT = [
    pytest.param(check, id=name_of(check), marks=[pytest.mark.slow] * (check is draws))
    for check in CHECKS
    if check not in (*PRESET_CHECKS, lowers_the_loss)
]


@pytest.mark.parametrize("check", KEPT)
def test_the_contract_is_kept_by_runs_that_act(check: Check, folder: Path) -> None:
    check(" ".join(("cet/cartpole-delayed", *TINY)), folder)
