"""Tables as CSV and LaTeX."""

from __future__ import annotations

import csv
import io

from weft.reports.tables import Column, Mean, Table
from weft.reports.written import as_csv, as_latex
from weft.task.metric import Metric

TABLE = Table(
    (
        Column("setting", role="text"),
        Column("test/loss", metric=Metric("loss", "lower", "nats")),
        Column("tags", role="text"),
    ),
    (
        {"setting": 'a_1, "b"', "test/loss": Mean(0.123456789, 0.01, 3), "tags": ["x"]},
        {"setting": "50 %", "test/loss": None},
        {"setting": "c & d", "test/loss": Mean(0.5, None, 1)},
    ),
    note="mean ± standard error",
)


def test_csv_keeps_every_digit_and_reads_back() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(TABLE))))
    assert rows[0] == {
        "setting": 'a_1, "b"',
        "test/loss": "0.123456789",
        "test/loss_se": "0.01",
        "test/loss_n": "3",
        "tags": '["x"]',
    }
    assert rows[1]["test/loss"] == ""
    assert (rows[2]["test/loss_se"], rows[2]["test/loss_n"]) == ("", "1")


def test_latex_escapes_and_marks_the_best() -> None:
    text = as_latex(TABLE)
    assert r"a\_1, " in text
    assert r"50 \%" in text
    assert r"c \& d" in text
    assert r"\textbf{0.123 $\pm$ 0.010}" in text
    assert text.count(r"\\") == 4
    assert r"\begin{tabular}{lrl}" in text
