"""A page shows what the run's files say, whole in itself, and nothing gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.unit.reports.runs import CONFIG, run
from weft.plots.images import Named, save
from weft.plots.style import style
from weft.reports.curves import curves
from weft.reports.overview import write_overview
from weft.reports.page import write_report
from weft.reports.run_list import script
from weft.reports.sweep_plot import sweep_plot
from weft.reports.tables import Column, Mean, Table
from weft.run.directory import RunDirectory
from weft.run.registry import Run
from weft.task.metric import Metric

EVIL = "<script>alert('x')</script>&amp;\"'"
VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """The elements and the text of a page; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def line(**options: float) -> Figure:
    with style():
        figure = Figure(**options)
        figure.add_subplot().plot([0, 1], [0, 1])
    return figure


def page_of(run: Run, figures: list[Named] | None = None, **options) -> Page:
    run.path.mkdir(parents=True, exist_ok=True)
    return Page(write_report(run, figures or [], **options).read_text(encoding="utf-8"))


def test_the_page_says_how_the_run_went(tmp_path: Path) -> None:
    best = {"step": 8190, "value": 0.9795}
    page = page_of(run(tmp_path / "mnist-2", status={"best": best}))
    assert (tmp_path / "mnist-2" / "report.html").is_file()
    for words in (
        "mnist-2", "finished", "8,460 of 8,460 steps in 2 min 41 s on a small CPU",
        "20 November 2026, 14:03 UTC", "test accuracy 0.9742", "test loss 0.0587", "0.9795",
        "step 8,190", "parameters 669,706", "weights memory 16.0 MiB",
        "commit 3f9c2b1e, with changes that were not committed",
    ):  # fmt: skip
        assert words in page.text, words


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("running", "Still running when this page was written: 30 of 8,460 steps"),
        ("interrupted", "it can go on from where it stopped"),
        ("failed", "Failed after 30 of 8,460 steps. the loss is not a number"),
        ("crashed", "ended without a word after 30 of 8,460 steps"),
    ],
)
def test_a_run_that_is_not_finished_says_so(tmp_path: Path, state: str, words: str) -> None:
    message = "the loss is not a number" if state == "failed" else ""
    told = "running" if state == "crashed" else state
    directory = RunDirectory(tmp_path)
    if state == "running":
        # Without a writer that holds the lock it would have crashed.
        directory.lock()
    page = page_of(run(tmp_path, status={"state": told, "step": 30, "message": message}))
    directory.unlock()
    assert words in page.text
    assert f"weft resume {tmp_path}" in page.text


def test_the_headline_metrics_come_first(tmp_path: Path) -> None:
    metrics = {"test/zeal": 1.0, "val/loss": 2.0, "test/loss": 3.0, "test/accuracy": 0.5}
    text = page_of(run(tmp_path, metrics=metrics)).text
    places = [text.index(name) for name in ("test accuracy", "test loss", "val loss", "test zeal")]
    assert places == sorted(places)


def test_commands_can_be_copied(tmp_path: Path) -> None:
    path = tmp_path / "a run"
    page = page_of(run(path))
    assert "weft train cet/mnist 'run.tags=[a b]'" in page.text
    assert f"weft train '{path}/config.yaml' weft" not in page.text
    assert f"weft evaluate '{path}'" in page.text
    assert "git checkout 3f9c2b1e" in page.text
    page = page_of(run(path, env={"command": ["/site/weft/__main__.py", "train", "cet"]}))
    assert "python -m weft train cet" in page.text
    page = page_of(run(path, run={"dir": str(path)}))
    assert f"weft train '{path}/config.yaml' run.dir=NEW_DIRECTORY" in page.text


def test_figures_stand_in_the_page_with_their_captions(tmp_path: Path) -> None:
    rows = [{"step": s, "train/loss": 1 / s, "val/loss": 2 / s} for s in range(1, 9)]
    page = page_of(run(tmp_path), [*curves(rows), ("kernel", "How traces fade.", line())])
    drawings = page.named("svg")
    assert [drawing["aria-label"] for drawing in drawings] == ["loss", "kernel"]
    assert "How traces fade." in page.text
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert ids and len(ids) == len(set(ids))


def test_what_stands_between_backticks_is_shown_as_code(tmp_path: Path) -> None:
    run(tmp_path)
    samples = RunDirectory(tmp_path / "figures")
    samples.path.mkdir(exist_ok=True)
    (samples.path / "kernel.txt").write_text("0.5")
    entry = {"file": "kernel.txt", "name": "kernel", "caption": "Of `<delay>`, half ` alone."}
    samples.write_json("index", {"step": 1, "figures": [entry]})
    page = page_of(run(tmp_path)).text
    assert "`" not in page.partition("half")[0].rpartition("Of")[2]
    source = (tmp_path / "report.html").read_text()
    assert "Of <code>&lt;delay&gt;</code>, half ` alone." in source


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [
        ([(6, 3)], ["alone"]),
        ([(6, 3)] * 2, [None, None]),
        ([(6, 3)] * 3, [None, None, "alone"]),
        ([(9, 3), (6, 3), (6, 3)], ["wide", None, None]),
        ([(6, 3), (9, 3), (6, 3)], ["alone", "wide", "alone"]),
    ],
)
def test_no_figure_stands_in_half_a_row_and_one_alone_is_no_larger_than_others(
    tmp_path: Path, sizes: list[tuple[int, int]], rows: list[str | None]
) -> None:
    figures = [(str(n), "", line(figsize=size)) for n, size in enumerate(sizes)]
    shown = page_of(run(tmp_path), figures).named("figure")
    assert [attrs.get("class") for attrs in shown] == rows


def test_a_figure_of_very_many_lines_becomes_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weft.reports.gallery._LARGEST_SVG", 1000)
    page = page_of(run(tmp_path), [("cloud", "", line())])
    (picture,) = page.named("img")
    assert (picture["src"] or "").startswith("data:image/png;base64,")
    assert not page.named("svg")


def test_samples_are_embedded_from_the_figures_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "figures"
    save(line(), folder / "traces.png")
    (tmp_path / "run" / "secret.png").write_bytes(b"\x89PNG")
    entries = [
        {"file": "traces.png", "name": "traces", "caption": "Traces at work."},
        {"file": "../secret.png", "name": "secret", "caption": "Out of bounds."},
    ]
    (folder / "index.json").write_text(json.dumps({"step": 9, "figures": entries}))
    page = page_of(run(tmp_path / "run"))
    (picture,) = page.named("img")
    encoded = (picture["src"] or "").partition(",")[2]
    assert base64.b64decode(encoded) == (folder / "traces.png").read_bytes()
    assert "Traces at work." in page.text and "Out of bounds." not in page.text


def test_values_that_differ_from_the_defaults_are_marked(tmp_path: Path) -> None:
    defaults = {
        **CONFIG,
        "delay": 5,
        "optim": {"kind": "sgd", "lr": 1e-3},
        "run": {"dir": None, "tags": ("a",)},
    }
    text = (tmp_path / "report.html", page_of(run(tmp_path), defaults=defaults))[0].read_text()
    changed = re.findall(r'class="changed">(.*?)</span><span class="origin">(.*?)<', text)
    assert changed == [("20", "default 5"), ("adam", "default sgd")]
    assert re.search(r"<details open><summary>[^/]*optim", text)
    assert re.search(r"<details><summary>[^/]*data", text)


def test_without_defaults_nothing_is_marked(tmp_path: Path) -> None:
    page = page_of(run(tmp_path))
    assert not any(attrs.get("class") == "changed" for _, attrs in page.tags)
    assert "precision:  fp32" in page.text or "precision: fp32" in page.text


def test_the_log_ends_with_its_last_line(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("".join(f"line {n}\n" for n in range(500)))
    text = page_of(run(tmp_path)).text
    assert "last 60 of 500 lines" in text
    assert "line 499" in text and "line 440" in text and "line 439" not in text


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(EVIL)
    evil = run(
        tmp_path,
        metrics={EVIL: 1.0},
        status={
            "recipe": EVIL,
            "message": EVIL,
            "declared": [{"name": EVIL, "better": "lower", "unit": EVIL, "about": EVIL}],
        },
        resolved={EVIL: EVIL},
        env={
            EVIL: EVIL,
            "device_name": EVIL,
            "command": [EVIL],
            "git": {"commit": EVIL, "dirty": 0},
        },
        tag=EVIL,
        nested={EVIL: [EVIL]},
    )
    figures = [("x", EVIL, line()), (EVIL, EVIL, line())]
    page = page_of(evil, figures, defaults={"tag": EVIL + "!", "nested": {EVIL: EVIL}})
    assert not page.named("script")
    assert page.text.count("alert('x')") >= 10


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    page = page_of(run(tmp_path), [("a", "", line())])
    text = (tmp_path / "report.html").read_text()
    policy = [attrs["content"] for attrs in page.named("meta") if "http-equiv" in attrs]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    for _, attrs in page.tags:
        for key in ("src", "href", "xlink:href"):
            assert (attrs.get(key) or "data:").startswith(("data:", "#"))
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_a_run_without_extras_can_be_reported(tmp_path: Path) -> None:
    bare = run(tmp_path, env={"git": None, "command": None}, metrics={"test/loss": None})
    page = page_of(bare)
    assert "not in a repository" in page.text and "git checkout" not in page.text
    assert "test loss —" in page.text


def sweep_table(*axes: str) -> Table:
    row = {"delay": 5, "order": 2, "n": 2, "test/accuracy": Mean(0.98123, 0.0021, 2)}
    return Table(
        (
            *(Column(axis, role="axis") for axis in axes),
            Column("n", role="text"),
            Column("test/accuracy"),
        ),
        (row,),
        note="mean ± standard error",
    )


def plot(table: Table) -> list[Named]:
    return [("sweep", table.note, sweep_plot(table, "test/accuracy"))]


def test_a_sweep_page_has_plot_table_and_runs(tmp_path: Path) -> None:
    runs = [
        run(tmp_path / "delay=5,seed=0"),
        run(tmp_path / "delay=5,seed=1", status={"state": "failed", "message": EVIL}),
    ]
    for each in runs:
        each.path.mkdir()
    (runs[0].path / "report.html").touch()
    table = sweep_table("delay")
    path = write_overview(tmp_path, runs, plot(table), table)
    page = Page(path.read_text(encoding="utf-8"))
    assert path == tmp_path / "report.html"
    assert "1 finished, 1 failed" in page.text and "5 min 22 s" in page.text
    assert "0.981 ± 0.002" in page.text
    assert len(page.named("svg")) == 1
    (policy,) = [a["content"] for a in page.named("meta") if "http-equiv" in a]
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    # The page's own script runs, and no other that slipped in.
    assert len(page.named("script")) == 1 and f"script-src 'sha256-{digest}'" in (policy or "")
    links = [attrs["href"] for attrs in page.named("a")]
    assert links == ["delay%3D5%2Cseed%3D0/report.html"]


def test_two_axes_are_shown_as_a_square(tmp_path: Path) -> None:
    table = sweep_table("delay", "order")
    path = write_overview(tmp_path, [], plot(table), table)
    assert "delay order 2 5 0.981 ± 0.002" in Page(path.read_text(encoding="utf-8")).text


def test_the_best_setting_is_bold_and_its_column_says_what_it_measures(tmp_path: Path) -> None:
    loss = Metric("loss", "lower", "nats", "Mean cross-entropy.")
    columns = (Column("delay", role="axis"), Column.of("test/loss", [loss]))
    values = (0.5, 0.0, math.nan)
    rows = tuple({"delay": n, "test/loss": Mean(v, None, 1)} for n, v in enumerate(values))
    text = write_overview(tmp_path, [], [], Table(columns, rows)).read_text(encoding="utf-8")
    assert 'title="Mean cross-entropy. Lower is better.">test/loss (nats) ↓</th>' in text
    assert re.findall("<strong>(.*?)</strong>", text) == ["0.0000"]
    assert "—" in text and "nan" not in text.partition("<body>")[2]
    assert "↓ lower is better; bold: the best" in text


def test_tiles_and_metrics_say_unit_direction_and_what_they_are(tmp_path: Path) -> None:
    declared = [{"name": "loss", "better": "lower", "unit": "nats", "about": "Cross-entropy."}]
    status = {"declared": declared, "best": {"step": 3, "value": 0.0}}
    page = page_of(run(tmp_path, metrics={"test/loss": 0.0, "test/gain": None}, status=status))
    assert "test loss 0.0 nats lower is better" in page.text
    assert "best on validation 0.0 nats step 3" in page.text
    assert "test/loss 0.0 nats lower Cross-entropy. test/gain —" in page.text
    assert [attrs["title"] for attrs in page.named("span") if "title" in attrs] == [
        "Cross-entropy. Lower is better."
    ] * 2
