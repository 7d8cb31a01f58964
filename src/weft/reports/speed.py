"""The table of a benchmark: time of every form of a case, and ratios to references and peers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weft.reports.tables import Cell, Column, Table


def speeds(found: Mapping[str, Any]) -> Table:
    """A row for each case and a column for each form; the last one is the floor of a step.

    `weft x reference` is the time of `reference` divided by that of `weft`. The floor is the time
    of the step's operations at the rate of a float32 matrix product measured on the same device.

    Args:
        found: the result of `weft.api.bench`.
    """
    machine = found["machine"]
    rates = {"cpu": machine["gemm_gflops"], "cuda": machine.get("gpu_gemm_gflops")}
    forms = list(dict.fromkeys(row["form"] for row in found["cases"]))
    ratios: dict[str, None] = {}
    rows: dict[str, dict[str, Cell]] = {}
    for row in found["cases"]:
        line = rows.setdefault(row["case"], {"case": row["case"]})
        line[row["form"]] = row["median_ms"]
        if row["form"] == "weft" and row["flops"]:
            line["floor"] = row["flops"] / rates[row["device"]] / 1e6
    for name, share in found["ratios"].items():
        case, _, pair = name.partition("/")
        form, _, baseline = pair.partition(":")
        ratios[f"{form} x {baseline}"] = None
        rows[case][f"{form} x {baseline}"] = 1 / share
    columns = (
        Column("case", role="text"),
        *(Column(form, title=f"{form} ms") for form in forms),
        *(Column(ratio) for ratio in ratios),
        Column("floor", title="floor ms"),
    )
    return Table(columns, tuple(rows.values()), note=json.dumps(machine))
