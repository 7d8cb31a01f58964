"""The results of a reproduction: published numbers beside ours as tables, text and a page; and a
copy of everything but the weights in a folder that can be carried to another machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weft import families
from weft.atomic import write_text
from weft.reports.claims import by_metric, matched
from weft.reports.html import card, safe, section, table_html
from weft.reports.html import write as write_page
from weft.reports.tables import Column, Table, format_number, format_seconds, mean_of
from weft.reports.written import markdown
from weft.run.directory import RunDirectory
from weft.run.files import RECORD
from weft.run.registry import Run, find_runs
from weft.sweeps.wanted import Entry, known_as

TITLE = "Published and ours"
TEXT, PAGE = "results.md", "report.html"


def write(
    folder: Path, budget: str, wanted: Mapping[str, Sequence[Entry]]
) -> tuple[list[Table], Path, Path]:
    """Writes the results of the runs below a folder.

    Args:
        folder: of the reproduction, with a folder for each family.
        budget: that the runs were trained on.
        wanted: family -> entries that were to be trained.

    Returns: the tables, and the paths of the same as Markdown and as a page.
    """
    runs = {name: find_runs(folder / name) for name in wanted}
    tables = [each for name in wanted for each in _tables(name, wanted[name], runs[name])]
    names = {name for found in wanted.values() for entry in found for name in _names(entry)}
    # The folder may also hold runs of entries that are no longer listed.
    asked = [run for found in runs.values() for run in found if run.name in names]
    head = _head(budget, wanted, asked)
    text, page = folder / TEXT, folder / PAGE
    body = "\n".join(f"## {each.title}\n\n{markdown(replace(each, title=''))}" for each in tables)
    write_text(text, f"# {TITLE}\n\n{head}\n\n{body}")
    parts = [
        f'<header><div class="title"><h1>{TITLE}</h1></div><p class="lead">{safe(head)}</p>'
        "</header>",
        *(section(table.title, card(table_html(table))) for table in tables),
    ]
    return tables, text, write_page(page, TITLE, parts)


def hand_back(folder: Path, out: Path) -> None:
    """Copies the tables and of each run its config, status, device and all losses to `out`."""
    for path in sorted(folder.rglob("*")):
        if path.name in (TEXT, PAGE, *RECORD, RunDirectory(folder).metrics.name):
            target = out / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _head(budget: str, wanted: Mapping[str, Sequence[Entry]], runs: Sequence[Run]) -> str:
    """The opening lines: budget, machines, and how many runs have finished."""
    count = sum(entry.seeds for found in wanted.values() for entry in found)
    finished = sum(run.state == "finished" for run in runs)
    words = [f"{finished} of {count} runs are finished"]
    if runs:
        words.append(f"{format_seconds(sum(run.seconds for run in runs))} of training in all")
        words.append(f"on {_devices(runs)}")
        words.append(f"begun on {min(str(run.status['started'])[:10] for run in runs)}")
    return f"`weft reproduce {' '.join(wanted)} --budget {budget}`: {'; '.join(words)}."


def _tables(name: str, wanted: Sequence[Entry], runs: Sequence[Run]) -> Iterator[Table]:
    """A family's tables: claims that finished runs match, and what was trained."""
    if claims := matched(families.find(name), runs):
        for each in by_metric(claims):
            yield replace(each, title=f"{name}: {each.title}")
    yield _trained(name, wanted, runs)


def _trained(name: str, wanted: Sequence[Entry], runs: Sequence[Run]) -> Table:
    """The table of what was trained: each entry's leading metric over seeds, and its progress."""
    known = {run.name: run for run in runs}
    rows: list[dict[str, Any]] = []
    for entry in wanted:
        found = [known[each] for each in _names(entry) if each in known and not known[each].damage]
        done = [run for run in found if run.state == "finished"]
        row: dict[str, Any] = {"what": entry.about, "recipe": " ".join(entry.words)}
        row["finished"] = f"{len(done)} of {entry.seeds}"
        if found:
            losses = [value for run in found if (value := run.logged().get("train/loss"))]
            row["loss"] = mean_of(losses) if losses else None
            row["steps"] = ", ".join(dict.fromkeys(map(_steps, found)))
            row |= {
                "time": format_seconds(max(run.seconds for run in found)),
                "device": _devices(found),
            }
        if done and done[0].headlines:
            metric = done[0].headlines[0]
            row |= {"metric": metric, "ours": mean_of([run.metrics.get(metric) for run in done])}
        rows.append(row)
    text = ("what", "recipe", "metric", "finished", "steps", "time", "device")
    columns = {key: Column(key, role="text") for key in text}
    columns |= {"ours": Column("ours"), "loss": Column("loss", title="train/loss")}
    order = ("what", "metric", "ours", "finished", "steps", "loss", "time", "device", "recipe")
    note = (
        "mean ± standard error over finished seeds; train/loss: the last one logged, of all; "
        "the longest run's time"
    )
    return Table(tuple(map(columns.__getitem__, order)), tuple(rows), f"{name}: trained", note)


def _names(entry: Entry) -> list[str]:
    """The names of the directories of an entry's runs."""
    return [f"{known_as((*entry.words, f'seed={n}'))},seed={n}" for n in range(entry.seeds)]


def _steps(run: Run) -> str:
    step, total = int(run.status["step"]), int(run.status["total_steps"])
    shown = format_number(total)
    return shown if step == total else f"{format_number(step)} of {shown}"


def _devices(runs: Sequence[Run]) -> str:
    """The devices on which the runs were trained, each once."""
    return ", ".join(dict.fromkeys(run.device for run in runs))
