"""Forms: which can compute what, what they cost, and which is chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from weft.errors import ConfigError
from weft.families.warp.cell.clock import Clock
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.outputs import Head
from weft.families.warp.cell.recurrence_rule import Rule
from weft.families.warp.cell.root import MlpRoot
from weft.families.warp.forms.autoregressive import Rolled, count_starts
from weft.families.warp.forms.choose import FORMS, choose, fed_back, free, refusal
from weft.families.warp.forms.cost import Machine, Problem, Work
from weft.families.warp.forms.estimate import estimates
from weft.families.warp.score.outline import describe, explain

MACHINE = Machine(rate=1e11, bandwidth=1e10, cache=1.6e7, cached=3e10, call=1e-5)
IMAGE = Problem(
    batch=128, steps=196, drives=1, channels=1, size=1298, product=2 * 1298**2,
    numbers=1298**2, rank=0, structured=False, reading=2496, starts=1, clipped=False,
    second_order=False, feedback=True, last=False, ragged=False,
)  # fmt: skip
LABEL = replace(IMAGE, feedback=False, last=True)
WORMS = replace(
    LABEL, batch=32, steps=17984, drives=6, size=901, product=2 * 901**2, numbers=901**2
)


def able(problem: Problem) -> set[str]:
    return {form for form in FORMS if not refusal(problem, form)}


def test_only_steps_in_turn_can_clip() -> None:
    for problem in (IMAGE, LABEL, replace(IMAGE, feedback=False)):
        assert able(replace(problem, clipped=True)) == {"sequential"}


def test_the_kernel_of_the_start_needs_one_start() -> None:
    assert able(LABEL) == {"last_state", "chunked", "sequential"}
    assert able(replace(LABEL, starts=128)) == {"chunked", "sequential"}
    # A second-order rule moves on from theta_0 without multiplying it.
    assert "last_state" in able(replace(LABEL, starts=128, second_order=True))


def test_lengths_of_their_own_forbid_the_history_of_predictions_alone() -> None:
    assert able(replace(IMAGE, ragged=True)) == {"sequential"}
    assert "history" in able(replace(IMAGE, feedback=False, ragged=True))


def test_a_structured_transition_is_scanned_in_free_runs_alone() -> None:
    diagonal = replace(IMAGE, structured=True, product=2 * 1298, numbers=1298)
    assert "scan" not in able(diagonal)
    assert "scan" in able(replace(diagonal, feedback=False))
    assert "scan" not in able(replace(diagonal, feedback=False, last=True))
    assert "scan" in able(replace(diagonal, feedback=False, last=True, rank=4))


def test_the_cheapest_form_is_chosen_and_no_other() -> None:
    for problem in (IMAGE, LABEL, WORMS, replace(IMAGE, feedback=False)):
        chosen = choose(problem, MACHINE)
        for form in able(problem):
            least = min(each.seconds(MACHINE) for each in estimates(problem, form))
            assert chosen.seconds(MACHINE) <= least


def test_published_shapes_get_the_forms_they_were_made_for() -> None:
    assert choose(IMAGE, MACHINE).form == "history"
    assert choose(LABEL, MACHINE).form == "last_state"
    assert choose(WORMS, MACHINE).form == "chunked"
    few = replace(IMAGE, batch=2, steps=20_000)  # the history is longer than the state is wide
    assert choose(few, MACHINE).form == "sequential"


def test_few_starts_are_carried_cheaper_than_many() -> None:
    phi = replace(IMAGE, size=4898, product=2 * 4898**2, numbers=4898**2, steps=256)
    one, few, many = (
        min(each.seconds(MACHINE) for each in estimates(replace(phi, starts=count), "history"))
        for count in (1, 4, 128)
    )
    assert one < few < many


def test_a_form_that_would_not_fit_into_memory_is_a_last_resort() -> None:
    springs = replace(
        IMAGE, batch=1024, steps=256, drives=2, channels=2, size=4898, product=2 * 4898**2,
        numbers=4898**2, starts=1024,
    )  # fmt: skip
    (turns,) = estimates(springs, "sequential")
    fastest = min(each.seconds(MACHINE) for each in estimates(springs, "history"))
    assert fastest < turns.seconds(MACHINE)
    assert choose(springs, MACHINE) == turns
    assert choose(replace(springs, starts=1), MACHINE).form == "history"


def test_a_long_history_of_predictions_takes_giant_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def spy(*arguments: object, **named: object) -> Rolled:
        given.update(named)
        return Rolled(torch.zeros(1), torch.zeros(1))

    monkeypatch.setattr("weft.families.warp.forms.choose.rollout", spy)
    layer, x = Layer(MlpRoot(1, 1, 24, 3), Rule(1)), torch.zeros(64, 784, 1)
    ticks = Clock(784).ticks(torch.arange(784.0))
    plan = choose(Problem.of(layer, 64, 784, feedback=True), Machine.of(x.device))
    assert (plan.form, plan.doublings > 0) == ("history", True)
    fed_back(layer, Head(1), x, torch.ones(64, 784), ticks)
    assert (given["form"], given["doublings"]) == ("history", plan.doublings)


def test_equal_first_data_count_as_one_start() -> None:
    layer = Layer(MlpRoot(1, 2, 3, 1), Rule(2), initial_layers=0)
    first = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    assert count_starts(layer, first, None) == 2
    assert count_starts(layer, first, torch.zeros(3, layer.root.size)) == 3
    assert count_starts(layer, first.to("meta"), None) == 3
    assert count_starts(Layer(MlpRoot(1, 2, 3, 1), Rule(2)), first, None) == 1


def test_the_loop_counts_the_products_of_the_literal_recurrence() -> None:
    (loop,) = estimates(LABEL, "loop")
    moves = 6 * LABEL.batch * LABEL.steps * LABEL.size**2
    drives = 6 * LABEL.batch * LABEL.steps * LABEL.size
    assert loop.flops == moves + drives


def test_giant_steps_trade_squarings_for_chunks() -> None:
    costs = {each.doublings: each for each in estimates(WORMS, "chunked")}
    squaring = 6 * 901**3  # and 4 D^2 (N + m C / 2) for what is doubled with it
    assert costs[8].flops - costs[7].flops < squaring
    assert costs[12].flops > costs[8].flops < costs[2].flops


def test_work_is_bound_by_arithmetic_memory_or_calls() -> None:
    assert Work(1, 1e11, 0).seconds(MACHINE) == pytest.approx(1, rel=1e-4)
    assert Work(1, 0, 1e10).seconds(MACHINE) == pytest.approx(1, rel=1e-4)
    assert Work(1000, 0, 1e10).seconds(MACHINE) == pytest.approx(1 / 3 + 0.01)
    assert Work(1000, 0, 0).seconds(MACHINE) == pytest.approx(0.01)


def test_each_form_is_explained_and_the_chosen_one_is_marked() -> None:
    lines = explain(WORMS, MACHINE)
    assert [line[2:].split()[0] for line in lines[1:]] == [*FORMS, "loop"]
    assert [line for line in lines if line.startswith("*")] == [
        line for line in lines if line.startswith("* chunked")
    ]
    assert "steps of 2^" in next(line for line in lines if "chunked" in line)
    assert any("scan" in line and "needs a structured A" in line for line in lines)
    assert any(line.startswith("* loop") for line in explain(WORMS, MACHINE, "loop"))


def test_every_layer_of_a_stack_is_described() -> None:
    stack = [Layer(MlpRoot(1, 2, 3, 1), Rule(2)) for _ in range(2)]
    lines = describe(stack, 8, 50, MACHINE, last=True)
    assert [line.split(", ")[1] for line in lines if line.startswith("recurrence")] == [
        "all steps read",
        "last step read",
    ]
    assert "literal loop" in describe(stack, 8, 50, MACHINE, feedback=True)[0]
    lines = describe(stack[:1], 8, 50, MACHINE, last=True, noisy=True)
    assert any("last_state" in line and "needs one theta_0" in line for line in lines)


@pytest.mark.parametrize("form", ["history", "scan", "nothing"])
def test_a_form_that_cannot_compute_a_run_is_refused(form: str) -> None:
    layer = Layer(MlpRoot(1, 2, 3, 1), Rule(2, limit=0.5))
    ticks = Clock(5).ticks(torch.arange(5.0))
    with pytest.raises(ConfigError, match=f"`{form}`.*") as error:
        free(layer, torch.randn(2, 5, 2), ticks, form=form)
    assert "sequential" in error.value.expected


def test_a_problem_reads_a_layer_s_shapes() -> None:
    layer = Layer(MlpRoot(1, 2, 3, 1), Rule(2, limit=0.5), 1, transition="lowrank:4")
    problem = Problem.of(layer, 7, 11, last=True)
    size = layer.root.size
    assert (problem.batch, problem.steps, problem.size) == (7, 11, size)
    assert (problem.drives, problem.channels, problem.rank) == (3, 2, 4)
    assert (problem.product, problem.numbers) == (16 * size, 8 * size)
    assert problem.clipped and problem.structured and problem.shared


@pytest.mark.parametrize("form", ["history", "sequential"])
def test_only_a_chunk_of_the_weights_exists_at_a_time(form: str) -> None:
    from torch.autograd.graph import saved_tensors_hooks

    layer = Layer(MlpRoot(1, 1, 8, 2), Rule(1))
    batch, steps, kept = 64, 400, []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.untyped_storage())
        return tensor

    ticks = Clock(steps).ticks(torch.arange(float(steps)))
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        out, _ = free(layer, torch.randn(batch, steps, 1), ticks, form=form)
    stored = sum({each.data_ptr(): each.nbytes() for each in kept}.values())
    assert out.requires_grad
    assert stored < 4 * batch * steps * layer.root.size / 4
