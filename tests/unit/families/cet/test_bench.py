"""The benchmark measures the forms it names."""

from __future__ import annotations

from weft.families.cet.bench import cases


def test_each_case_compares_traces_with_back_propagation() -> None:
    found = {case.name: case for case in cases()}
    assert list(found) == ["mlp", "cnn", "cnn-small", "eight"]
    eight = found.pop("eight")
    assert {*eight.forms} == {"stacked", "apart"} and eight.baselines == ("apart",)
    for case in found.values():
        assert {"cet", "cet+similarity", "backprop"} <= set(case.forms)
        assert set(case.baselines) == {"backprop", "reference"} & set(case.forms)
    assert "reference" in found["mlp"].forms and "reference" in found["cnn-small"].forms


def test_a_stack_makes_about_the_products_of_its_members() -> None:
    *_, eight = cases()
    stacked, apart = (eight.forms[name]().flops for name in ("stacked", "apart"))
    assert stacked is not None and apart is not None
    assert 1 <= stacked / apart < 1.05


def test_a_form_counts_the_matrix_products_of_its_step() -> None:
    forms = next(iter(cases())).forms
    layers = [(784, 512), (512, 512), (512, 10)]
    forward = sum(2 * 128 * inputs * outputs for inputs, outputs in layers)
    # Backward makes two products of each layer, but no error for the images.
    backward = 2 * forward - 2 * 128 * 784 * 512
    assert forms["backprop"]().flops == forward + backward
    pairing = sum(2 * 128 * 128 * outputs for _, outputs in layers)
    # An eighth more leaves room for the sums of the biases.
    assert pairing <= forms["cet"]().flops - forward - backward <= 1.125 * pairing
