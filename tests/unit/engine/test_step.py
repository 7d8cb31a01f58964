"""A step moves the weights by the mean gradient of its batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from weft import api, families
from weft.data.random import stream
from weft.data.source import Batch
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.errors import NonFiniteError


@pytest.fixture
def parts(toy: str) -> Parts:
    """The toy family under plain descent, which unlike Adam feels the size of a gradient."""
    config = api.configure(toy, "optim.kind=sgd", "optim.lr=0.5", "schedule.kind=constant").config
    return Parts.of(families.find("toy"), config)


def batches(parts: Parts) -> list[Batch]:
    """Two of one size."""
    train = parts.data().train
    return [train.take(indices, stream(0, 0, "data")) for indices in train.plan(0, 0)[:2]]


def loss_of(parts: Parts, model: nn.Module, batch: Batch) -> Tensor:
    return parts.task.loss(model, batch, parts.context(0))[0]


def test_gradients_of_the_parts_of_a_batch_are_averaged(parts: Parts) -> None:
    model, twin = parts.model(), parts.model()
    twin.load_state_dict(model.state_dict())
    both = batches(parts)
    (sum(loss_of(parts, twin, batch) for batch in both) / 2).backward()
    Stepper(parts, model)(both, parts.context(0))
    for moved, start in zip(model.parameters(), twin.parameters(), strict=True):
        assert start.grad is not None and start.grad.abs().max() > 0
        torch.testing.assert_close(moved, start - 0.5 * start.grad)


def test_scalars_of_the_parts_of_a_batch_are_averaged(parts: Parts) -> None:
    model, both = parts.model(), batches(parts)
    with torch.no_grad():
        mean = float(sum(loss_of(parts, model, batch) for batch in both) / 2)
    scalars = Stepper(parts, model)(both, parts.context(0))
    assert float(scalars["loss"]) == pytest.approx(mean, rel=1e-6)
    assert float(scalars["double"]) == pytest.approx(2 * mean, rel=1e-6)


def test_products_round_inside_a_step_alone_where_tf32_is_asked_for(
    toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for precision in ("fp32", "tf32"):
        config = api.configure(toy, f"engine.precision={precision}").config
        parts = Parts.of(families.find("toy"), config)
        stepper = Stepper(parts, parts.model())
        gradients = stepper.gradients
        monkeypatch.setattr(
            stepper,
            "gradients",
            lambda *given, do=gradients: (
                seen.append(torch.get_float32_matmul_precision()),
                do(*given),
            )[1],
        )
        stepper(batches(parts)[:1], parts.context(0))
    assert seen == ["highest", "high"]
    assert torch.get_float32_matmul_precision() == "highest"


def test_on_a_device_that_nobody_waits_for_a_skipped_update_is_told_at_the_next_row(
    toy: str,
) -> None:
    config = api.configure(toy, "optim.kind=adam").config
    parts = Parts.of(families.find("toy"), config)
    model = parts.model()
    stepper = Stepper(parts, model)
    # What a step asks of the device is whether its kernels may look at the flag themselves.
    stepper.device = torch.device("cuda")
    ctx, good = parts.context(0), batches(parts)[:1]
    bad = [{name: value * torch.nan if value.is_floating_point() else value
            for name, value in good[0].items()}]  # fmt: skip
    before = [parameter.clone() for parameter in model.parameters()]
    stepper(bad, ctx)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    scalars = stepper(good, ctx)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    with pytest.raises(NonFiniteError, match="since the last row"):
        stepper.check_skips(scalars, ctx)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_step_that_is_left_out_leaves_running_statistics_as_they_were(
    toy: str, device: str
) -> None:
    config = api.configure(toy, "optim.kind=adam", "engine.nonfinite=skip").config
    parts = Parts.of(families.find("toy"), config)
    model = parts.model()
    model.register_buffer("seen", torch.zeros(()))

    def see(model: nn.Module, given: tuple[Tensor]) -> None:
        model.get_buffer("seen").copy_(given[0].mean())

    model.register_forward_pre_hook(see)
    stepper, ctx, good = Stepper(parts, model), parts.context(0), batches(parts)[0]
    stepper.device = torch.device(device)
    bad = {name: value * torch.nan if value.is_floating_point() else value
           for name, value in good.items()}  # fmt: skip
    stepper([good], ctx)
    seen = model.get_buffer("seen").clone()
    assert seen != 0
    stepper([bad], ctx)
    assert torch.equal(model.get_buffer("seen"), seen)


class _Halving:
    """A schedule that halves the rate whenever it is told a loss."""

    reacts = True

    def __init__(self) -> None:
        self.scale = 1.0

    def factor(self, step: int) -> float:
        return self.scale

    def observe(self, loss: float) -> None:
        self.scale /= 2

    def state(self) -> dict[str, float]:
        return {"scale": self.scale}

    def load(self, state: dict[str, float]) -> None:
        self.scale = state["scale"]


class _Leading(_Halving):
    leads = True


@pytest.mark.parametrize(("kind", "used"), [(_Halving, 1.0), (_Leading, 0.5)])
def test_a_schedule_that_leads_sees_the_loss_before_the_update(
    parts: Parts, kind: type[_Halving], used: float
) -> None:
    model, twin = parts.model(), parts.model()
    twin.load_state_dict(model.state_dict())
    batch = batches(parts)[0]
    loss_of(parts, twin, batch).backward()
    stepper = Stepper(parts, model)
    stepper.schedule = kind()
    stepper([batch], parts.context(0))
    assert stepper.schedule.scale == 0.5
    for moved, start in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(moved, start - used * 0.5 * start.grad)


@pytest.mark.parametrize("clip", ["none", "norm", "value"])
@pytest.mark.parametrize("size", [1e19, 1e20, float("nan"), float("inf")])
def test_gradients_whose_joint_norm_is_no_number_stop_the_run(
    toy: str, clip: str, size: float
) -> None:
    config = api.configure(toy, f"clip.kind={clip}").config
    parts = Parts.of(families.find("toy"), config)
    model, good = parts.model(), batches(parts)[:1]
    for parameter in model.parameters():
        # A norm of 1e19 is one; the sum of the squares of several of them is none.
        parameter.register_hook(lambda g: torch.full_like(g, size / g.numel() ** 0.5))
    before = [parameter.clone() for parameter in model.parameters()]
    assert len(before) > 3
    with pytest.raises(NonFiniteError):
        Stepper(parts, model)(good, parts.context(0))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
