"""What an author of a family gets wrong is told as theirs: their file, and what was expected."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import toy as toy_package
from weft import families
from weft.cli import main
from weft.config import kinds
from weft.families.cet.task import CetTask
from weft.run import samples

FAMILY = """
from dataclasses import replace
from typing import Literal
from pydantic import Field
from tests.toy.family import FAMILY as TOY, ToyConfig
from weft.config.kinds import Kind

class Config(ToyConfig):
    family: Literal["mine"] = Field("mine", description="Which family trains.")

FAMILY = replace(TOY, name="mine", config=Config, task="mine.task:Mine", comparison="")
"""
TASK = '''
import torch
from dataclasses import replace
from weft.data.source import DataSpec, Field, Splits, TensorSource
from weft.task import Metric
from tests.toy.task import ToyTask

class Mine(ToyTask):
    """A task with one mistake."""

'''

Plug = Callable[..., Path]


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plug]:
    """Installs a package, for one test, that brings the family `mine` or other entry points."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    caches = (families._plugged, families._modules, families.find, kinds._plugged)

    def install(
        family: str = FAMILY,
        task: str = "    pass",
        *,
        points: str = "[weft.families]\nmine = mine:FAMILY",
        package: str = "weft-mine",
    ) -> Path:
        home = site / "mine"
        home.mkdir(parents=True, exist_ok=True)
        (home / "__init__.py").write_text(family)
        (home / "task.py").write_text(TASK + task)
        shutil.copytree(
            Path(str(toy_package.__file__)).parent / "presets", home / "presets", dirs_exist_ok=True
        )
        metadata = site / f"{package.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        (metadata / "entry_points.txt").write_text(points + "\n")
        for cache in caches:
            cache.cache_clear()
        return home

    yield install
    monkeypatch.undo()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]
    for cache in caches:
        cache.cache_clear()


def train(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["train", "mine/small", "steps=4", "log.tensorboard=false", "--quiet", *words])
    told = capsys.readouterr()
    assert told.out == ""
    return code, told.err


def assert_told(code: int, err: str, says: str, where: Path) -> None:
    assert says in err
    assert f"({where}:" in err
    assert err.startswith("family error: ")
    assert len(err.splitlines()) <= 3
    assert code == 1


TASKS = {
    "a spec of another type": (
        "def spec(self): return {'x': 3}",
        "`spec` of Mine gives a dict",
    ),
    "a spec without a batch": (
        "def spec(self): return replace(super().spec(), batches_per_epoch=0)",
        "`spec` of Mine gives 0 as `batches_per_epoch`",
    ),
    "a spec of more batches": (
        "def spec(self): return replace(super().spec(), batches_per_epoch=99)",
        "plans 5 batches",
    ),
    "a spec of a field that is not there": (
        "def spec(self): return replace(s := super().spec(), fields={**s.fields, 'z': Field(())})",
        "`spec` of Mine does not match the training batch, where `z` is nothing",
    ),
    "a spec of another shape": (
        "def spec(self):\n"
        "        return replace(s := super().spec(), fields={**s.fields, 'y': Field((2,))})",
        "where `y` is (8, 1) of torch.float32",
    ),
    "a spec of another dtype": (
        "def spec(self):\n"
        "        y = Field((1,), torch.int64)\n"
        "        return replace(s := super().spec(), fields={**s.fields, 'y': y})",
        "where `y` is (8, 1) of torch.float32",
    ),
    "data that are no splits": (
        "def data(self): return super().data().train",
        "`data` of Mine gives a TensorSource",
    ),
    "an empty split": (
        "def data(self):\n"
        "        none = TensorSource({'x': torch.zeros(0, 3), 'y': torch.zeros(0, 1)}, 8)\n"
        "        return replace(super().data(), val=none)",
        "`data` of Mine gives no items as `val`",
    ),
    "a source that is none": (
        "def data(self): return replace(super().data(), test=[1, 2])",
        "`data` of Mine gives a list as `test`, which lacks `plan`",
    ),
    "a source that does not move": (
        "def data(self):\n"
        "        class Stuck(TensorSource):\n"
        "            def to(self, device): pass\n"
        "        return replace(s := super().data(), val=Stuck(s.val.fields, 8))",
        "`data` of Mine gives a `val` whose `to` gives nothing",
    ),
    "a model that is none": (
        "def model(self, spec): return lambda x: x",
        "`model` of Mine gives a function",
    ),
    "a vector as the loss": (
        "def loss(self, m, b, c): return (m(b['x']) - b['y']).square(), {}",
        "`loss` of Mine gives a loss of shape (8, 1)",
    ),
    "a float as the loss": (
        "def loss(self, m, b, c): return super().loss(m, b, c)[0].item(), {}",
        "`loss` of Mine gives a float as the loss",
    ),
    "a loss without a gradient": (
        "def loss(self, m, b, c): return super().loss(m, b, c)[0].detach(), {}",
        "`loss` of Mine gives a loss without a gradient",
    ),
    "a loss alone": (
        "def loss(self, m, b, c): return super().loss(m, b, c)[0]",
        "`loss` of Mine gives a tensor of shape ()",
    ),
    "a float as a scalar": (
        "def loss(self, m, b, c): return super().loss(m, b, c)[0], {'share': 0.5}",
        "`loss` of Mine gives a float as the scalar `share`",
    ),
    "a vector as a scalar": (
        "def loss(self, m, b, c): return super().loss(m, b, c)[0], {'share': b['y']}",
        "`loss` of Mine gives a tensor of shape (8, 1) as the scalar `share`",
    ),
    "a scalar named like the engine's": (
        "def loss(self, m, b, c): return super().loss(m, b, c)[0], {'loss': b['y'].sum()}",
        "`loss` of Mine gives a scalar called `loss`",
    ),
    "a float among diagnostics": (
        "def scalars(self, model): return {'norm': 1.0}",
        "`scalars` of Mine gives a float as the scalar `norm`",
    ),
    "a tensor as a metric": (
        "def evaluate(self, m, s, c): return {'loss': torch.ones(())}",
        "`evaluate` of Mine gives a tensor of shape () as `loss`",
    ),
    "no headline among the metrics": (
        "def evaluate(self, m, s, c): return {'error': 1.0}",
        "`evaluate` of Mine gives no `loss`, the first of the declared metrics, but error",
    ),
    "no metrics declared": (
        "metrics = ()",
        "`metrics` of Mine is empty",
    ),
    "a metric declared twice": (
        "metrics = (Metric('loss', 'lower'), Metric('loss', 'lower'))",
        "`metrics` of Mine declares loss twice",
    ),
    "a direction that is none": (
        "metrics = (Metric('loss', 'down'),)",
        "`metrics` of Mine says that 'down' is better of `loss`",
    ),
    "nothing to train": (
        "def param_groups(self, model): return [{'params': []}]",
        "`param_groups` of Mine gives nothing to train",
    ),
    "a model without parameters": (
        "def model(self, spec):\n"
        "        return super().model(spec).requires_grad_(False)\n"
        "    def loss(self, m, b, c): return m(b['x'].requires_grad_()).sum(), {}",
        "`param_groups` of Mine gives nothing to train",
    ),
    "groups that are none": (
        "def param_groups(self, model): return model.parameters()",
        "`param_groups` of Mine gives the group",
    ),
    "a hook without an argument": (
        "def evaluate(self, model, source): return {'loss': 1.0}",
        "`evaluate` cannot be called as it is: too many positional arguments",
    ),
    "a constructor without the config": (
        "def __init__(self): self.config = None",
        "`__init__` cannot be called as it is",
    ),
    "a picture without a caption": (
        "def sample(self, m, d, c): yield 'name', []",
        "`Mine.sample` gives a tuple of str, list",
    ),
    "a picture in a folder": (
        "def sample(self, m, d, c):\n"
        "        from matplotlib.figure import Figure\n"
        "        yield 'a/b', 'caption', Figure()",
        "`Mine.sample` names a picture 'a/b'",
    ),
    "no pictures at all": (
        "def sample(self, m, d, c): pass",
        "`Mine.sample` gives nothing",
    ),
    "a bug of their own": (
        "def loss(self, m, b, c): return super().loss(m, {'x': b['y']}, c)",
        "RuntimeError: ",
    ),
    "a bug in what training reaches first": (
        "def evaluate(self, m, s, c): return {'loss': 1 / 0}",
        "ZeroDivisionError: division by zero",
    ),
}


@pytest.mark.parametrize("mistake", TASKS)
def test_a_task_s_mistake_names_the_author_s_line(
    mistake: str, plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    code, says = TASKS[mistake]
    home = plug(task=f"    {code}\n")
    assert_told(*train(capsys), says, home / "task.py")


def test_a_mistake_in_what_is_drawn_of_a_run_names_the_author_s_line(
    plug: Plug, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "draw", lambda trained: [])
    home = plug(task="    def figures(self, history): yield 'name', 'caption', [1]\n")
    assert_told(*train(capsys), "`Mine.figures` gives a tuple of str, str, list", home / "task.py")


def test_debug_shows_the_traceback_of_an_author_s_bug(
    plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(task="    def spec(self): return 1 / 0\n")
    assert main(["--debug", "train", "mine"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "family error: ZeroDivisionError" in err


def test_a_bug_of_weft_itself_stays_weft_s(
    plug: Plug, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug()
    monkeypatch.setattr(CetTask, "spec", lambda self: 1 / 0)
    assert main(["train", "cet/digits", "--quiet"]) == 1
    assert "please report it" in capsys.readouterr().err


PATHS = {
    "mine.tusk:Mine": "there is no module `mine.tusk`",
    "mine.task:Main": "`mine.task` has no `Main`",
    "mine:Config": "`mine:Config`, the task of family `mine`, is <class 'mine.Config'>",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_wrong_task_path_names_the_author_s_file(
    path: str, plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    home = plug(FAMILY.replace("mine.task:Mine", path))
    assert_told(*train(capsys), PATHS[path], home / "__init__.py")


def test_a_task_s_file_that_does_not_compile_is_named(
    plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    home = plug(task="    def spec(self) return 3\n")
    says = "`mine.task` cannot be imported: SyntaxError: expected ':'"
    assert_told(*train(capsys), says, home / "task.py")


BROKEN = {
    "a module that is missing": (
        "import absent_module\n" + FAMILY,
        "`mine` cannot be imported: ModuleNotFoundError: No module named 'absent_module'",
    ),
    "a file that does not compile": (
        FAMILY + "FAMILY =\n",
        "`mine` cannot be imported: SyntaxError",
    ),
    "no family": (FAMILY.replace("FAMILY =", "family ="), "its `FAMILY` is not there"),
    "something else": (FAMILY + "FAMILY = 3\n", "its `FAMILY` is 3"),
    "another name": (FAMILY.replace('name="mine"', 'name="yours"'), "it calls itself `yours`"),
    "another literal": (
        FAMILY.replace('Literal["mine"] = Field("mine"', 'Literal["yours"] = Field("yours"'),
        "`family` of Config is Literal['yours']",
    ),
    "a config that is none": (
        FAMILY.replace("config=Config", "config=dict"),
        "`config` is <class 'dict'>",
    ),
    "a path without a name": (
        FAMILY.replace("mine.task:Mine", "mine.task"),
        "`task` is 'mine.task'",
    ),
    "an alias without a converter": (
        FAMILY.replace("comparison", "aliases={'w': 'width'}, comparison"),
        "alias `w` is 'width'",
    ),
    "a kind that is none": (
        FAMILY.replace("comparison", "kinds={'optim': {'lion': 'mine:lion'}}, comparison"),
        "kind `lion` is 'mine:lion'",
    ),
    "a kind of another tag": (
        FAMILY.replace(
            "comparison", "kinds={'clip': {'lion': Kind(TOY.config, 'mine:lion')}}, comparison"
        ),
        "the config of kind `lion` is",
    ),
    "a split that is none": (
        FAMILY.replace("comparison", "parallel='rows', comparison"),
        "`parallel` is 'rows'",
    ),
    "a verb of two words": (
        FAMILY.replace("comparison", "verbs={'mine measure': 'mine:measure'}, comparison"),
        "`verbs` has 'mine measure'",
    ),
    "a verb without a function": (
        FAMILY.replace("comparison", "verbs={'measure': 'mine'}, comparison"),
        "verb `measure` is 'mine'",
    ),
    "a table that fails": (
        FAMILY.replace("comparison", "table='mine:table', comparison") + "table = lambda: 1 / 0\n",
        "ZeroDivisionError",
    ),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_family_that_does_not_load_is_one_row_and_the_others_go_on(
    mistake: str, plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    family, says = BROKEN[mistake]
    home = plug(family)
    assert main(["recipes", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    [row] = [row for row in rows if row["recipe"].startswith("mine")]
    assert says in row["broken"]
    assert f"({home / '__init__.py'}:" in row["broken"] or mistake == "no family"
    assert "cet/digits" in {row["recipe"] for row in rows}
    assert main(["recipes", "mine"]) == 1
    assert says in capsys.readouterr().err


def test_the_package_of_a_broken_family_is_named_in_recipes_doctor_and_train(
    plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    home = plug("FAMILY = None\n")
    says = f"family `mine` of weft-mine 1.0: its `FAMILY` is None ({home}/__init__.py:1)"
    assert main(["recipes"]) == 0
    # The list is broken into lines where the terminal ends, a path within itself.
    listed = "".join(capsys.readouterr().out.split())
    assert "".join(f"broken: {says}".split()) in listed
    assert main(["doctor"]) == 1
    told = capsys.readouterr()
    assert f"broken: {says}" in told.out
    assert "family mine is broken" in told.err
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["broken"] == {"family mine": says}
    assert_told(*train(capsys), "family `mine` of weft-mine 1.0", home / "__init__.py")
    assert main(["train", "cett/digits"]) == 2
    assert "did you mean `cet/digits`" in capsys.readouterr().err


def test_two_packages_that_bring_one_family_are_both_named(
    plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    plug()
    plug(package="weft-other")
    code, err = train(capsys)
    assert "`mine` is brought by weft-mine 1.0 and by weft-other 1.0" in err or (
        "`mine` is brought by weft-other 1.0 and by weft-mine 1.0" in err
    )
    assert code == 1
    assert main(["recipes"]) == 0
    assert "mine is brought" not in capsys.readouterr().out


def test_a_plug_in_named_like_a_family_of_weft_is_told_and_weft_s_own_stays(
    plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(points="[weft.families]\ncet = mine:FAMILY")
    assert families.find("cet").config.__module__ == "weft.families.cet.config"
    assert main(["recipes", "--json"]) == 0
    rows = {row["recipe"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["cet"]["broken"].startswith("`cet` is brought by weft itself and by weft-mine 1.0")
    assert "cet/digits" in rows


@pytest.mark.parametrize(
    ("point", "says"),
    [
        ("lion = absent_module:LION", "`optim.kind: lion` of weft-mine 1.0: there is no module"),
        ("lion = mine:FAMILY", "`optim.kind: lion` of weft-mine 1.0: kind `lion` is Family("),
        ("adamw = mine:FAMILY", "`adamw` is brought by weft itself and by weft-mine 1.0"),
    ],
)
def test_an_optimiser_that_does_not_load_is_told_and_the_others_go_on(
    point: str, says: str, plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(points=f"[weft.optim]\n{point}")
    assert main(["config", "show", "cet/digits", "optim.kind=adamw"]) == 0
    assert main(["config", "show", "cet/digits", "optim.kind=lion"]) == 2
    told = capsys.readouterr().err
    assert (says in told) == point.startswith("lion")
    assert main(["doctor"]) == 1
    assert f"optim {point.partition(' ')[0]}" in capsys.readouterr().out
    assert any(says in error.message for error in kinds.broken("optim").values())
