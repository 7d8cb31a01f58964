"""Every command and every Python snippet of the documents is one that works."""

from __future__ import annotations

import re
import shlex
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from weft import api, families, studies
from weft.cli import app
from weft.config.explain import fields
from weft.config.family import Family
from weft.config.recipe import recipe_class
from weft.data.fetch import locate
from weft.errors import UsageError, WeftError
from weft.sweeps.grid import points
from weft.sweeps.reproduction import meant
from weft.sweeps.space import parse
from weft.task.load import load_task
from weft.task.metric import find

ROOT = Path(__file__).parents[2]
FOLDERS = ("src/weft/families/*", "src/weft/template/*")
DOCUMENTS = sorted(
    path
    for pattern in (
        *("*.md", "docs/*.md", "papers/**/*.md", "papers/**/*.yaml"),
        *(f"{folder}/{each}" for folder in FOLDERS for each in ("*.md", "presets/*.yaml")),
    )
    for path in ROOT.glob(pattern)
)
EXECUTED = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

PLACEHOLDER = re.compile(r"(^|[/|\[])[A-Z]{3,}($|[/|\]])|…|\.\.\.")
PROGRAM = re.compile(
    r"(?:exec +)?(?:[A-Z_]+=\S+ +)*(weft|python3?|torchrun|make|cd|pip|pytest|\.ci/run) "
)
ASSIGNMENT = re.compile(r"([A-Z]\w*)=(\"[^\"]*\"|'[^']*'|\S*)$")


@dataclass(frozen=True)
class Block:
    """Lines of a document that belong together.

    Attributes:
        kind: `bash`, `python`, …; `indented` or `inline` where there is no fence.
        lines: (line number, text).
    """

    kind: str
    lines: list[tuple[int, str]]


def blocks(path: Path) -> Iterator[Block]:
    """Fenced and indented blocks and inline code of a page; the opening comment of a YAML file."""
    lines = list(enumerate(path.read_text().splitlines(), start=1))
    if path.suffix == ".yaml":
        header = [(number, text.lstrip("#")) for number, text in lines if text.startswith("#")]
        yield Block("indented", header)
        return
    fence: Block | None = None
    indented: list[tuple[int, str]] = []
    for number, text in lines:
        if text.lstrip().startswith("```"):
            if fence is None:
                fence = Block(text.strip().strip("`") or "text", [])
            else:
                yield fence
                fence = None
        elif fence is not None:
            fence.lines.append((number, text))
        elif text.startswith("    "):
            indented.append((number, text))
        else:
            yield Block("indented", indented)
            indented = []
            spans = re.findall(r"`((?:weft|python) [a-z-][^`]*)`", text.replace(r"\|", "|"))
            yield Block("inline", [(number, each) for span in spans for each in either(span)])
    yield Block("indented", indented)


def either(text: str) -> list[str]:
    """`weft config show|schema` as the two commands it stands for."""
    choice = re.search(r"\b([a-z]+(?:\|[a-z]+)+)\b", text)
    return [text.replace(choice[1], each) for each in choice[1].split("|")] if choice else [text]


@dataclass(frozen=True)
class Command:
    """A command of a document.

    Attributes:
        line: its number.
        text: as typed.
        folder: that the block has changed into.
        mention: whether it stands in running text, where a verb alone is enough.
    """

    line: int
    text: str
    folder: Path
    mention: bool


def commands(path: Path) -> Iterator[Command]:
    """The commands of a document, each on one line."""
    for block in blocks(path):
        if block.kind not in ("bash", "sh", "indented", "inline"):
            continue
        folder, variables = ROOT, dict[str, str]()
        start, command = 0, ""
        for number, text in block.lines:
            start, command = (start, command + text) if command else (number, text.strip())
            if command.endswith("\\"):
                command = command[:-1]
                continue
            if assigned := ASSIGNMENT.fullmatch(command):
                variables[assigned[1]] = assigned[2].strip("\"'")
            for name, value in variables.items():
                command = command.replace(f"${name}", value)
            for part in command.split(" && "):
                if PROGRAM.match(f"{part} "):
                    if part.startswith("cd "):
                        folder = folder / part.split()[1]
                    yield Command(start, part, folder, block.kind == "inline")
            command = ""


def resolve(command: Command) -> None:
    """Resolves a command as far as that goes without running it.

    Raises:
        WeftError: if it would be refused; also what typer raises.
    """
    words, folder = shlex.split(command.text, comments=True), command.folder
    if ">" in words:  # Where its output goes.
        words = words[: words.index(">")]
    while re.match(r"exec$|[A-Z_]+=", words[0]):
        del words[0]
    program, *words = words
    if command.mention:
        words = [word.strip("[]") for word in words]  # `[--outside]` may be left out
    if program == "torchrun":
        program, words = "weft", words[words.index("weft") + 1 :]
    if program == "weft":
        resolve_weft(words, mention=command.mention)
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for extras in re.findall(r"(?:weft|\.)\[([\w,]+)\]", command.text):
            for extra in extras.split(","):
                _known(extra, list(project["optional-dependencies"]))
    elif program in ("pytest", ".ci/run"):
        for path in (program, *words) if program == ".ci/run" else words:
            _known(path, [path] if (ROOT / path).exists() else [])
    elif program == "make":
        _known(words[0], re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    elif program == "cd":
        _known(str(folder), [str(folder)] if folder.is_dir() else [])
    elif words[0] == "-m":
        _known(words[1], [words[1]] if find_spec(words[1]) else [])
        resolve_study(words[2:])
    elif words[0] != "-c":
        _known(words[0], [path.name for path in folder.glob("*.py")])


def resolve_weft(words: list[str], *, mention: bool) -> None:
    """Parses the words by the command's own options, then asks for what they name."""
    command: Any = typer.main.get_command(app)
    context, verb = command.make_context("weft", list(words)), ""
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        verb = f"{verb} {name}".strip()
        if mention and not rest:
            return
        context = command.make_context(name, rest, parent=context)
    given = context.params
    if verb == "resume":
        for key in (word.partition("=")[0] for word in given["words"] or ()):
            _known(key, [key for key in _keys() if key.split(".")[0] in _FREE])
    if any(map(PLACEHOLDER.search, words)):
        return
    if verb in ("train", "config show"):
        api.configure(*given["words"])
    elif verb == "sweep":
        resolve_sweep(given["words"], given["metric"])
    elif verb == "reproduce":
        for each in given["family"]:
            meant(each)
    elif verb == "recipes":
        assert api.recipes(given["pattern"])
    elif verb == "bench":
        assert given["what"] in ("all", "loop") or families.find(given["what"]).bench
    elif verb == "config schema":
        if given["family"] is not None:
            families.find(given["family"])
    elif verb in ("data get", "data check"):
        locate(given["name"])
    elif verb == "study":
        main = studies.find(words[1])
        if words[2:] or not mention:
            resolve_flags(main, words[2:])
        resolve_study(words[2:])
    if verb in ("resume", "evaluate", "sample"):
        parts = given["run"].parts
        if parts[0] == "runs":
            families.find(parts[1])


_FREE = ("log", "engine", "checkpoint", "steps", "epochs")


def resolve_sweep(words: list[str], metric: str | None, own: Sequence[str] = ()) -> None:
    """Every value of every axis makes a config, and the metric is one that the task declares.

    Words of a form of their own come after all others, and win.
    """
    first, *others = points(parse(words))
    for point in (first, *others):
        moved = [key for key, value in point.values.items() if value != first.values[key]]
        if len(moved) < 2:
            config = api.configure(*point.overrides, *own).config
    if metric is not None:
        declared = load_task(families.find(config.family), config).metrics
        if find(declared, metric) is None:
            _known(metric, [each.name for each in declared])


class _Read(Exception):
    """A study has read its words, or says what is wrong with them."""


def resolve_flags(main: studies.Main, words: list[str]) -> None:
    """A study's own flags, by its own parser; it goes no further than that."""

    def read(parser: ArgumentParser, *given: Any) -> None:
        parsed(parser, *given)
        raise _Read

    def refuse(parser: ArgumentParser, message: str) -> None:
        raise _Read(message)

    parsed = ArgumentParser.parse_intermixed_args
    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Read) as found:
        patch.setattr(ArgumentParser, "parse_intermixed_args", read)
        patch.setattr(ArgumentParser, "error", refuse)
        main(words)
    for message in found.value.args:
        raise UsageError(message)


def resolve_study(words: list[str]) -> None:
    """The recipe and the grid among a study's words, if it takes a recipe, in each of its forms."""
    recipes = [word for word in words if word.partition("/")[0] in families.names()]
    options = next((at for at, word in enumerate(words) if word.startswith("--")), len(words))
    if recipes and words[0] == recipes[0]:
        given = pairwise(words)
        forms = [form.partition(":")[2] for flag, form in given if flag == "--form"]
        for form in forms or [""]:
            resolve_sweep(words[:options], None, shlex.split(form))


def _all() -> list[Family]:
    return [families.find(name) for name in families.names()]


def _keys() -> set[str]:
    return {".".join(key) for family in _all() for key, _ in fields(recipe_class(family))}


def _known(name: str, names: list[str]) -> None:
    if name not in names:
        raise UsageError(f"there is no `{name}`", expected=f"one of {', '.join(names)}")


def mistakes(path: Path) -> list[str]:
    """What is wrong in a document, with file and line."""
    found = []
    for block in blocks(path):
        # A configuration that opens with its own name, for the commands that read it.
        if block.kind == "yaml" and (named := re.match(r"# (\S+\.yaml)", block.lines[0][1])):
            Path(named[1]).write_text("\n".join(text for _, text in block.lines))
    for command in commands(path):
        try:
            with suppress(typer.Exit):  # It asks for help.
                resolve(command)
        except (WeftError, typer.exceptions.TyperException) as error:
            found.append(f"{path}:{command.line}: {command.text}\n  {error}")
    return found


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The template as a family, so that what it says of itself can be resolved."""
    monkeypatch.setitem(families.BUILT_IN, "newcomer", "weft.template.newcomer")
    for found in vars(families).values():
        getattr(found, "cache_clear", lambda: None)()
    yield
    monkeypatch.undo()
    for found in vars(families).values():
        getattr(found, "cache_clear", lambda: None)()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_document_resolves(path: Path, workspace: Path, template: None) -> None:
    assert mistakes(path) == []


@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.name)
def test_the_snippets_of_a_document_run(
    path: Path, workspace: Path, without_pictures: None
) -> None:
    scope: dict[str, Any] = {"__name__": "document"}
    for block in blocks(path):
        if block.kind == "python":
            source = "\n" * (block.lines[0][0] - 1) + "\n".join(text for _, text in block.lines)
            exec(compile(source, str(path), "exec"), scope)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("weft trian cet/digits", "trian"),
        ("weft train cet/digits --dryrun", "--dryrun"),
        ("weft train cet/digts", "no preset `digts`"),
        ("weft train cet/digits dealy=3", "did you mean `delay`?"),
        ("weft train cet/digits \\\n    delay=-1", "`delay` = -1"),
        ("weft sweep cet/digits delay=1,500", "every error would arrive after the end"),
        ("weft sweep cet/digits delay=1,2 --metric test/rmse", "no `test/rmse`"),
        ("weft resume runs/cet/digits optim.lr=1", "no `optim.lr`"),
        ("weft sample runs/ctt/digits", "no family `ctt`"),
        ("weft bench ctt", "no family `ctt`"),
        ("weft data get mnits", "mnits"),
        ("torchrun --nproc-per-node 2 -m weft train cet/mnist strems=2", "`streams`"),
        ("weft study rates cet/digits optim.lr=1e-3 --setps 3", "--setps"),
        ("python -m weft.nowhere", "no `weft.nowhere`"),
        ("pip install 'weft[ray,rya]'", "no `rya`"),
        ("pytest tests/oracle/test_nothing.py", "test_nothing.py"),
        ("cd papers/cet && python btsp.py", "no `btsp.py`"),
        ("cd papers/btsp", "papers/btsp"),
        ("make demonstration", "no `demonstration`"),
    ],
)
@pytest.mark.parametrize("form", ["fenced", "indented"])
def test_a_mistake_is_found_with_its_line(
    line: str, message: str, form: str, workspace: Path
) -> None:
    page = workspace / "page.md"
    indented = "\n".join(f"    {each}" for each in line.splitlines())
    page.write_text(
        f"# A page\n\n```bash\n{line}\n```\n" if form == "fenced" else f"\n\n\n{indented}"
    )
    [found] = mistakes(page)
    assert found.startswith(f"{page}:4: ")
    assert message in found


def test_inline_code_and_headers_of_presets_are_read_too(workspace: Path) -> None:
    page, preset = workspace / "page.md", workspace / "preset.yaml"
    page.write_text("Then `weft train RECIPE`, `weft trian RUN` and `weft bench ctt`.")
    preset.write_text("# What it is.\n#\n#   weft train cet/digits widht=3   # why\nfamily: cet\n")
    assert [each.partition("\n")[0] for each in mistakes(page)] == [
        f"{page}:1: weft trian RUN",
        f"{page}:1: weft bench ctt",
    ]
    assert len(mistakes(preset)) == 1
