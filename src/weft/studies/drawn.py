"""Figures of the study `controls`: the loss of every arm on each budget, and its curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.reports.tables import Mean, Table
from weft.studies.legs import FLOPS, STEPS, Sums

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def losses(table: Table) -> Figure:
    """The loss of every arm on both budgets, with standard errors."""
    from matplotlib.figure import Figure

    arms = list(dict.fromkeys(str(row["arm"]) for row in table.rows))
    figure = Figure(figsize=(6.8, 1.2 + 0.42 * len(arms)), layout="constrained")
    axes = figure.add_subplot()
    for shift, (budget, marker, color) in zip(
        (-0.13, 0.13), ((STEPS, "o", "C0"), (FLOPS, "s", "C1")), strict=True
    ):
        found = {
            arms.index(str(row["arm"])): loss
            for row in table.rows
            if row["budget"] == budget and isinstance(loss := row.get("loss"), Mean)
        }
        if found:
            axes.errorbar(
                [loss.value for loss in found.values()],
                [arm + shift for arm in found],
                xerr=[loss.error or 0.0 for loss in found.values()],
                fmt=marker,
                color=color,
                capsize=2,
                label=f"equal {budget}",
            )
    axes.set_yticks(range(len(arms)), arms)
    axes.invert_yaxis()
    axes.set(xlabel="loss", title="Arms and their controls")
    axes.legend()
    return figure


def curves(sums: Sums) -> Figure:
    """Held-out loss over steps for the first seed, at equal FLOPs if both budgets were trained."""
    from matplotlib.figure import Figure

    budgets = {budget for _, budget in sums.curves}
    shown = FLOPS if FLOPS in budgets else STEPS
    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for number, ((arm, budget), points) in enumerate(sums.curves.items()):
        if budget == shown and points:
            steps, seen = zip(*points, strict=True)
            style = ("-", "--", ":")[number // 10 % 3]
            axes.plot(steps, seen, style, marker=".", color=f"C{number % 10}", label=arm)
    axes.set(xlabel="step", ylabel="held-out loss", title=f"Curves at equal {shown}")
    axes.legend(fontsize="small")
    return figure
