"""The family's figures show what they claim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from weft.families.cet.config import Config
from weft.families.cet.figures import report
from weft.families.cet.task import CetTask
from weft.families.cet.trace.kernel import cascade_kernel
from weft.task.context import Context

MEASURES = ({"sim": 0.5, "sim_centred": 0.2, "gain": 0.9}, {"sim": None, "gain": 1.1})
HISTORY = [
    {"step": 50 * i, "train/loss": 1.0}
    | {f"{name}/{layer}": value for name, value in row.items() for layer in ("w1", "w2")}
    for i, row in enumerate(MEASURES, start=1)
]


def config(**values: Any) -> Config:
    return Config(**{"steps": 1, "batch_size": 32, "delay": 6, "order": 4, **values})


def lines(figure: Figure) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for axes in figure.axes for line in axes.get_lines()}


@pytest.mark.parametrize("error", ["impulse", "smeared"])
def test_the_kernel_drawn_is_the_kernel_of_the_rule(error: str) -> None:
    for order in (1, 2, 6):
        drawn = report.kernel_of(config(error=error), order, "cascade")
        assert torch.allclose(drawn, cascade_kernel(6, order, 32), atol=1e-12)


def test_kernels_of_the_papers_orders_and_the_run_are_compared() -> None:
    _, _, figure = report.kernels(config())
    names = [name.split("   ")[0] for name in lines(figure)]
    assert names == ["ET (order 1)", "CET(2)", "CET(4)", "CET(6)", "CET(10)", "ideal delay"]
    [mine] = [name for name in lines(figure) if "this run" in name]
    assert mine.startswith("CET(4)")


@pytest.mark.parametrize(
    ("kernel", "delay"), [("cascade", 0), ("cascade", 6), ("ideal", 6), ("sideways", 6)]
)
def test_every_kernel_and_delay_can_be_drawn(kernel: str, delay: int) -> None:
    cfg = config(kernel=kernel, delay=delay, readout="optimal")
    stream = torch.rand(32, 3, 9, 9)
    for name, caption, figure in (
        report.kernels(cfg), report.pairing_matrix(cfg), report.trace(cfg, stream)
    ):  # fmt: skip
        assert name and caption and figure.axes
        figure.canvas.draw()


def test_the_trace_of_an_ideal_delay_meets_the_wanted_activity() -> None:
    _, _, figure = report.trace(config(kernel="ideal"), torch.rand(32, 1, 8, 8))
    drawn = lines(figure)
    wanted = drawn["wanted: activity 6 steps ago"]
    assert np.allclose(drawn["ideal delay"][6:], wanted)
    assert not np.allclose(drawn["ET (order 1)"][6:], wanted)


def test_similarity_shows_each_measure_of_each_layer_and_skips_gaps() -> None:
    _, _, figure = report.similarity(HISTORY)
    panels = [
        {
            line.get_label(): line.get_xdata()
            for line in axes.get_lines()
            if line.get_label()[0] != "_"
        }
        for axes in figure.axes
    ]
    assert [set(panel) for panel in panels] == [{"w1", "w2"}] * 3
    assert list(panels[0]["w1"]) == [50] and list(panels[2]["w1"]) == [50, 100]


def test_predictions_name_the_class_and_mark_mistakes() -> None:
    logits = torch.tensor([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0]])
    _, caption, figure = report.predictions(
        config(), torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 1]), logits
    )
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles[0] == "0  100%" and titles[2].endswith("is 1")
    assert "2 are right" in caption


def test_a_measure_that_was_logged_once_is_seen() -> None:
    _, _, figure = report.similarity(HISTORY[:1])
    drawn = [line for axes in figure.axes for line in axes.lines if line.get_label() == "w1"]
    assert [(line.get_marker(), list(line.get_xdata())) for line in drawn] == [("o", [50])] * 3


def test_the_task_draws_similarity_only_where_it_was_tracked() -> None:
    task = CetTask(config())
    assert [name for name, _, _ in task.figures([{"step": 1, "train/loss": 1.0}])] == []
    assert [name for name, _, _ in task.figures(HISTORY)] == ["similarity"]


def test_a_sample_needs_only_a_model_and_data() -> None:
    task = CetTask(config(hidden_dim=8))
    data = task.data()
    model = task.model(task.spec()).eval()
    names = [name for name, _, _ in task.sample(model, data, Context(0, 0, 1, torch.device("cpu")))]
    assert names == ["kernels", "pairing", "trace", "predictions"]
