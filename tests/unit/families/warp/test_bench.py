"""The benchmark measures the forms it names, on equal terms."""

from __future__ import annotations

import torch

from weft.families.warp import bench
from weft.families.warp.bench import Shape, cases
from weft.families.warp.forms import sequential


def test_all_shapes_are_measured_and_slow_ones_only_under_full() -> None:
    found = {case.name: case for case in cases()}
    assert {"mnist-14", "mnist-28", "class-784", "worms-17984", "msd"} <= set(found)
    assert {name for name, case in found.items() if case.full} == {"mnist-28", "class-784", "msd"}
    clipped = {"mnist-14-clip", "mnist-14-loose"}
    for name in clipped:
        assert found[name].baselines == ("loop", "products")
    for name, case in found.items():
        if name in clipped or name.endswith("-cuda"):
            continue
        assert sum(form.startswith("auto-") for form in case.forms) == 1
        assert case.baselines == tuple(form for form in ("loop", "gru") if form in case.forms)
        assert bool(case.baselines) == (name != "worms-17984")


def test_a_gru_has_as_many_parameters_as_the_weights_it_is_compared_with() -> None:
    for shape in (
        Shape(2, 3, 1, {"uncertain": True}, feedback=True),
        Shape(2, 3, 6, {"output_size": 0, "classes": 5, "width": 128, "depth": 1}),
    ):
        model, rnn = bench._model(shape, "auto"), bench._peer(shape)
        ours, its = (sum(p.numel() for p in each.parameters()) for each in (model, rnn))
        assert abs(its / ours - 1) < 0.005


def test_a_step_leaves_gradients_and_counts_its_operations() -> None:
    shape = Shape(2, 6, 2, {"width": 3, "depth": 1}, feedback=True)
    for form in ("history", "sequential", "loop"):
        built = bench._weights(shape, form)
        built.step()
        assert built.flops is not None and built.flops > 0


def test_the_floor_of_a_clipped_step_is_its_products() -> None:
    shape = Shape(2, 6, 2, {"width": 3, "depth": 1, "limit": 0.5}, feedback=True)
    case = bench._clipped("clip", shape)
    stored = sequential.STORED
    built = {form: make() for form, make in case.forms.items()}
    for form in built.values():
        form.step()
    size = bench._problem(shape).size
    assert built["products"].flops == 6 * 2 * 6 * size**2
    assert stored == sequential.STORED


def test_all_forms_of_a_case_compute_the_same_loss() -> None:
    shape = Shape(3, 9, 2, {"output_size": 0, "classes": 4, "width": 3, "depth": 1})
    x = bench._sequences(shape)
    outs = []
    for form in ("loop", "last_state", "chunked", "auto"):
        torch.manual_seed(0)
        outs.append(bench._model(shape, form)(x, last=True)[0])
    for out in outs[1:]:
        torch.testing.assert_close(out, outs[0])
