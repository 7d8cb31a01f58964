"""The contract that every family keeps, as checks that an author runs on his own preset.

Each check takes a recipe, alone as in `mine/small` or with overrides as in `mine/large width=8`,
and a folder to work in, and raises AssertionError with a sentence that says what is wrong. The
first check that needs a finished run trains one of six steps in the folder, which the others use,
too. In a test file:

    @pytest.fixture(scope="module")
    def folder(tmp_path_factory):
        return tmp_path_factory.mktemp("contract")

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    def test_the_contract_is_kept(check, folder):
        check("mine/small", folder)
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from weft import api, families
from weft.config.explain import fields
from weft.config.family import Family
from weft.config.recipe import recipe_class
from weft.data.random import stream
from weft.engine.parts import Parts
from weft.engine.profile import resolved as derived
from weft.engine.step import Stepper
from weft.errors import Interrupted
from weft.reports.claims import load_claims
from weft.run.directory import RunDirectory
from weft.run.record import Sink
from weft.run.recorder import SinkMaker
from weft.run.registry import Run, open_run
from weft.task.metric import find

Check = Callable[[str, Path], None]

HERE = ("data.download=false", "engine.device=cpu")
"""No network, and on the CPU, where numbers are equal to the last bit."""
SHORT = (*HERE, "steps=6", "checkpoint.every=4 steps", "eval.every=6 steps", "log.every=1",
         "log.tensorboard=false")  # fmt: skip
STOPPED_AT, LAST = 2, 6
OPERATIONS = 3
"""Operations of an evaluation after which a signal interrupts it."""
PICTURE_BYTES = 2_000
"""A smaller file counts as an empty picture."""


def check_it_builds_and_states_its_cost(recipe: str, folder: Path) -> None:
    """Before anything is trained, a run's parameters, FLOPs, memory and length are known."""
    parts = _parts(recipe)
    costs = derived(parts)
    trained = sum(p.numel() for p in parts.model().parameters() if p.requires_grad)
    _promise(
        costs["parameters"] == trained,
        f"the dry run counts {costs['parameters']} parameters, the model has {trained}",
    )
    for cost in ("flops_per_step", "bytes_activations", "total_steps"):
        _promise(costs[cost] > 0, f"the dry run says that `{cost}` is {costs[cost]}")


def check_it_opens_with_what_it_is_and_its_command(recipe: str, folder: Path) -> None:
    """A preset's file opens with a comment that says what it is and how it is run."""
    family = _family(recipe)
    recipe = recipe.split()[0]
    preset = recipe.partition("/")[2]
    if preset in family.generated:
        return  # A row of a table has no file.
    path = family.home / "presets" / f"{preset}.yaml"
    text = path.read_text()
    header = [line for line in text.splitlines() if line.startswith("#")]
    _promise(len(header) >= 2, f"{path} does not open with a comment that says what it is")
    command = f"weft train {recipe}"
    _promise(command in text, f"the comment of {path} does not name its command, `{command}`")


def check_steps_on_one_batch_lower_the_loss(recipe: str, folder: Path) -> None:
    """Thirty steps of Adam on one batch lower its loss by a tenth."""
    parts = _parts(recipe, "schedule.kind=constant", "optim.kind=adam", "optim.lr=1e-3")
    data = parts.data()
    source, stepper = data.train, Stepper(parts, parts.model(data=data))
    batch = source.take(source.plan(0, 0)[0], stream(0, 0, "data"))
    ctx = parts.context(0)
    drawn = parts.task.draw(batch, ctx)
    losses = [float(stepper([drawn], ctx)["loss"]) for _ in range(30)]
    _promise(
        losses[-1] < 0.9 * losses[0],
        f"30 steps on one batch took its loss from {losses[0]:.4g} to {losses[-1]:.4g}, "
        "not a tenth down",
    )


def check_the_plan_is_pure_and_matches_the_spec(recipe: str, folder: Path) -> None:
    """The same seed and epoch give the same batches, with the shapes and dtypes of `spec`."""
    parts = _parts(recipe)
    source, spec = parts.data().train, parts.spec
    plan, again, other = source.plan(3, 5), source.plan(3, 5), source.plan(3, 6)
    _promise(
        len(plan) == spec.batches_per_epoch,
        f"`plan` gives {len(plan)} batches, `spec` says {spec.batches_per_epoch}",
    )
    _promise(_equal(plan, again), "`plan(3, 5)` gave other batches when asked again")
    _promise(not _equal(plan, other), "epochs 5 and 6 have the same batches in the same order")
    batch = source.take(plan[0], stream(0, 0, "data"))
    for name, field in spec.fields.items():
        _promise(name in batch, f"`spec` names the field `{name}`, a batch has {sorted(batch)}")
        shape, dtype = tuple(batch[name].shape), batch[name].dtype
        wanted = (*spec.batch_shape, *field.shape)
        _promise(
            (shape, dtype) == (wanted, field.dtype),
            f"`{name}` is {dtype} {shape} in a batch, {field.dtype} {wanted} in `spec`",
        )


def check_the_same_seed_gives_the_same_run(recipe: str, folder: Path) -> None:
    """Two runs of one seed end with the same weights and metrics, bit for bit."""
    run, again = _straight(recipe, folder), _train(recipe, folder / "again")
    _same(_weights(run), _weights(again), "a second run of the same seed")
    _promise(
        again.metrics == run.metrics,
        f"a second run of the same seed measured {again.metrics}, not {run.metrics}",
    )


def check_stop_and_resume_equals_a_straight_run(recipe: str, folder: Path) -> None:
    """A run that a signal stops, between two steps or during an evaluation, and that is resumed
    ends as one that was never stopped."""
    run, place = _straight(recipe, folder), folder / "stopped"
    with _stopped_by_signal(place, STOPPED_AT):
        _train(recipe, place, sinks=[lambda _: _Stop(STOPPED_AT)])
    with _stopped_by_signal(place, LAST), ExitStack() as midst:
        api.resume(place, report=False, sinks=[lambda _: _Stop(LAST, midst)])
    _promise(
        not any(key.startswith(("val/", "test/")) for row in _rows(open_run(place)) for key in row),
        f"SIGTERM in the evaluation of step {LAST} was heard when it had ended",
    )
    resumed = api.resume(place, report=False)
    assert resumed is not None
    who = f"a run resumed at step {STOPPED_AT} and in the evaluation of step {LAST}"
    _same(_weights(run), _weights(resumed), who)
    _promise(
        resumed.metrics == run.metrics,
        f"{who} measured {resumed.metrics}, not {run.metrics}",
    )
    _promise(_rows(resumed) == _rows(run), f"{who} has other rows")


def check_a_run_made_longer_equals_a_straight_run(recipe: str, folder: Path) -> None:
    """A finished run that is continued ends as a straight run of that length (constant rate)."""
    short, place = folder / "short", folder / "longer"
    constant = f"{recipe} schedule.kind=constant"
    _train(f"{constant} steps=2", short)
    longer = api.train(str(short), "steps=4", report=False, run={"dir": str(place)})
    assert longer is not None
    straight = _train(f"{constant} steps=4", folder / "constant")
    _same(_weights(straight), _weights(longer), "a run of 2 steps that was made longer")


def check_evaluation_changes_nothing_and_repeats(recipe: str, folder: Path) -> None:
    """Evaluating again gives the run's own numbers and does not change the model."""
    run = _straight(recipe, folder)
    trained = run.load()
    before = {name: value.clone() for name, value in trained.model.state_dict().items()}
    for time in ("first", "second"):
        found = trained.metrics()
        _promise(
            found == run.metrics,
            f"the {time} evaluation measured {found}, training ended with {run.metrics}",
        )
    _same(before, trained.model.state_dict(), "a model that was evaluated")


def check_every_metric_is_declared(recipe: str, folder: Path) -> None:
    """`metrics` declares all that `evaluate` returns, which includes the first one."""
    run = _straight(recipe, folder)
    names = [metric.name for metric in run.declared]
    for name in run.metrics:
        _promise(
            find(run.declared, name) is not None,
            f"`evaluate` returns `{name.partition('/')[2]}`, which `metrics` does not declare "
            f"({', '.join(names)})",
        )
    _promise(
        any(run.declared[0].covers(name) for name in run.metrics),
        f"`metrics` begins with `{names[0]}`, which `evaluate` does not return",
    )


def check_samples_and_report_are_drawn(recipe: str, folder: Path) -> None:
    """`weft sample` draws something, and the page shows it without any other file."""
    run = _straight(recipe, folder)
    pictures = api.sample(run.path)
    _promise(bool(pictures), "`sample` draws nothing")
    for path in pictures:
        size, least = path.stat().st_size, 0 if path.suffix == ".txt" else PICTURE_BYTES
        _promise(size > least, f"{path.name} has {size} bytes, too few for a sample")
    page = api.report(run.path).read_text()
    for path in pictures:
        _promise(path.stem in page, f"the report does not show {path.name}")
    for link in ('src="http', 'href="http'):
        _promise(link not in page, f"the report is not self-contained: it has {link}…")


def check_the_export_agrees(recipe: str, folder: Path) -> None:
    """`model.safetensors` holds the weights that the run chose."""
    run = _straight(recipe, folder)
    exported = api.load(run.path / "model.safetensors").state_dict()
    _same(api.load(run.path).state_dict(), exported, "model.safetensors")


def check_claims_name_real_options(recipe: str, folder: Path) -> None:
    """Where a family states claims, their configs name options it has."""
    family = _family(recipe)
    path = family.home / "claims.yaml"
    if not path.is_file():
        return  # Claims are optional.
    known = {".".join(key) for key, _ in fields(recipe_class(family))}
    claims = load_claims(path)
    _promise(bool(claims), f"{path} states no claims")
    for claim in claims:
        unknown = sorted({*claim.config, *claim.pins} - known)
        _promise(not unknown, f"the claim `{claim.id}` names {unknown}, which are no options")


PRESET_CHECKS: tuple[Check, ...] = (
    check_it_builds_and_states_its_cost,
    check_it_opens_with_what_it_is_and_its_command,
)
"""Checks for every preset; quick, since nothing is trained."""

CHECKS: tuple[Check, ...] = (
    *PRESET_CHECKS,
    check_steps_on_one_batch_lower_the_loss,
    check_the_plan_is_pure_and_matches_the_spec,
    check_the_same_seed_gives_the_same_run,
    check_stop_and_resume_equals_a_straight_run,
    check_a_run_made_longer_equals_a_straight_run,
    check_evaluation_changes_nothing_and_repeats,
    check_every_metric_is_declared,
    check_samples_and_report_are_drawn,
    check_the_export_agrees,
    check_claims_name_real_options,
)
"""The whole contract, for one preset of a family that trains quickly."""


def contract(recipe: str, folder: Path) -> None:
    """Runs every check on `recipe`.

    Args:
        recipe: one that takes six steps in seconds, such as `mine/small` or `mine/large width=8`.
        folder: where runs may be written.

    Raises:
        AssertionError: listing every check that fails.
    """
    broken = []
    for check in CHECKS:
        try:
            check(recipe, folder)
        except AssertionError as error:
            broken.append(f"{name_of(check)}: {error}")
    if broken:
        head = f"{recipe} breaks {len(broken)} of {len(CHECKS)} promises"
        raise AssertionError("\n  ".join([head, *broken]))


def name_of(check: Check) -> str:
    """The check's name in short, for the name of a test."""
    return check.__name__.removeprefix("check_")


class _Stop(Sink):
    """A sink that sends SIGTERM after a step, as a scheduler would.

    Args:
        at: the step.
        midst: an exit stack to enter `_Countdown` in, so that the signal comes during the step's
            evaluation; if None, it comes at once.
    """

    def __init__(self, at: int, midst: ExitStack | None = None) -> None:
        self.at, self.midst = at, midst

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        if step != self.at or "train/loss" not in values:
            return
        if self.midst is None:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.midst.enter_context(_Countdown(OPERATIONS))

    def on_end(self, directory: RunDirectory, state: str) -> None:
        pass


class _Countdown(TorchFunctionMode):
    """Sends SIGTERM after `left` operations of torch."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return func(*args, **(kwargs or {}))


@contextmanager
def _stopped_by_signal(place: Path, step: int) -> Iterator[None]:
    """Expects that the run at `place` is stopped within the block, and has saved the step."""
    try:
        yield
    except Interrupted:
        saved = open_run(place).status["saved"]
        _promise(saved == step, f"SIGTERM at step {step} left a run that had saved step {saved}")
    else:
        raise AssertionError(f"SIGTERM at step {step} did not stop the run")


def _promise(kept: bool, otherwise: str) -> None:
    if not kept:
        raise AssertionError(otherwise)


def _family(recipe: str) -> Family:
    return families.find(recipe.partition("/")[0])


def _parts(recipe: str, *words: str) -> Parts:
    config = api.configure(*recipe.split(), *HERE, *words).config
    return Parts.of(families.find(config.family), config)


def _train(recipe: str, place: Path, sinks: Sequence[SinkMaker] = ()) -> Run:
    words = (*SHORT, *recipe.split()[1:])
    run = api.train(recipe.split()[0], *words, report=False, sinks=sinks, run={"dir": str(place)})
    assert run is not None
    return run


def _straight(recipe: str, folder: Path) -> Run:
    """The uninterrupted run of the folder, trained on first use."""
    place = folder / "straight"
    if (place / "status.json").is_file():
        return open_run(place)
    return _train(recipe, place)


def _weights(run: Run) -> dict[str, Tensor]:
    return run.load_model("last").state_dict()


def _rows(run: Run) -> list[dict[str, Any]]:
    """The recorded rows, without times."""
    return [
        {key: value for key, value in row.items() if key != "seconds" and key[:5] != "time/"}
        for row in run.history()
    ]


def _same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], who: str) -> None:
    differing = [
        name
        for name in {**ours, **theirs}
        if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name])
    ]
    _promise(not differing, f"{who} has other values in {', '.join(differing)}")


def _equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))
