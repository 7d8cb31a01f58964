"""Runs that are killed and continued, each in a process forked from one that has torch at hand.

    python -m tests.crash.nursery FOLDER PLAN

PLAN is JSON: `words` of the run; `moments`, a number of them spread over the run, [k, n] for each
n-th from the k-th, or names of critical ones, as "rename run/.status.json #1" for the second;
`twice`, how many pairs of kills, the second while the run is continued; `outside`, at how many
random times a parent kills; `page`, whether figures and report are made. Prints JSON: `acts` of the
straight run, `tried`, `differing` as a line each.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.crash.doom import Doom
from weft import api, families
from weft.engine.checkpoint import read
from weft.run.files import read_rows

RUN = Path("run")
_CLOCKS = ("seconds", "time/step_ms")


def forked(work: Callable[[], None], folder: Path, killed_after: float | None = None) -> int:
    """Does the work in a process of its own, in the folder, and gives the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(folder)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    assert os.WEXITSTATUS(status) == 0, f"the process failed in {folder}"
    return 0


def begin(words: Sequence[str], page: bool, at: int | None, note: Path | None = None) -> None:
    """Starts the run as a user would, and dies at act `at`."""
    doom = Doom(at)
    doom.watch()
    api.train(*words, report=page, **{"run.dir": str(RUN)})
    if note is not None:
        note.write_text(json.dumps(doom.acts))


def go_on(words: Sequence[str], page: bool, at: int | None = None) -> None:
    """Does what a user does who finds the run killed."""
    doom = Doom(at)
    doom.watch()
    status = RUN / "status.json"
    if not status.is_file():
        api.train(*words, report=page, **{"run.dir": str(RUN)})
    elif json.loads(status.read_text())["state"] != "finished":
        api.resume(RUN, report=page)
    elif page:
        api.sample(RUN)
        api.report(RUN)


def content(folder: Path) -> dict[str, Any]:
    """All of a run that must not depend on whether it was killed, by name."""
    run = folder / RUN
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    found: dict[str, Any] = {"files": [name for name in names if "/logs/" not in name]}
    for path in sorted((run / "checkpoints").glob("*.pt")):
        state = read(path)
        del state["progress"]["seconds"]
        found[path.name] = state
    rows = read_rows(run / "metrics.jsonl")
    found["rows"] = [{k: v for k, v in row.items() if k not in _CLOCKS} for row in rows]
    status = json.loads((run / "status.json").read_text())
    kept = ("state", "step", "metrics", "best", "saved", "message", "total_steps")
    found["status"] = {key: status[key] for key in kept}
    for name in ("model.safetensors", "config.yaml", "resolved.yaml"):
        found[name] = (run / name).read_bytes()
    found["figures"] = {p.name: p.read_bytes() for p in (run / "figures").glob("*.png")}
    found["figures"] |= {p.name: p.read_bytes() for p in (run / "figures").glob("*.gif")}
    return found


def differing(ours: Any, theirs: Any) -> bool:
    """Whether two values differ in any bit."""
    if isinstance(ours, torch.Tensor):
        return not torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() != theirs.keys() or any(differing(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list | tuple):
        return len(ours) != len(theirs) or any(map(differing, ours, theirs))
    return bool(ours != theirs)


def compared(folder: Path, straight: dict[str, Any]) -> str:
    """What of the run in the folder is not as in the straight one; "" if all is."""
    found = content(folder)
    lines = [name for name in straight if differing(straight[name], found.get(name))]
    more = sorted({*found} ^ {*straight})
    if "files" in lines:
        more += sorted({*found["files"]} ^ {*straight["files"]})
    return ", ".join([*lines, *more])


def chosen(acts: Sequence[str], moments: Any) -> list[int]:
    """Numbers of the acts at which to kill."""
    every = range(1, len(acts) + 1)
    if moments and isinstance(moments[0] if isinstance(moments, list) else None, int):
        first, step = moments
        return list(every)[first::step]
    if isinstance(moments, int):
        count = min(moments, len(acts))
        return sorted({1 + round(i * (len(acts) - 1) / max(1, count - 1)) for i in range(count)})
    found = []
    for part in moments:  # "NAME" the first such act, "NAME -1" the last
        name, _, which = part.partition(" #")
        found.append([n for n in every if name in acts[n - 1]][int(which or 0)])
    return found


def main(folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Carries out the plan."""
    families.BUILT_IN["toy"] = "tests.toy.family"
    torch.set_num_threads(1)

    words, page = plan["words"], plan.get("page", False)
    # Whatever is imported and kept at a first run, every child has from here.
    warm = folder / "warm"
    warm.mkdir()
    api.train(*words, report=page, **{"run.dir": str(warm / RUN)})
    straight = folder / "straight"
    straight.mkdir()
    note = folder / "acts.json"
    began = time.monotonic()
    forked(lambda: begin(words, page, None, note), straight)
    lasted = time.monotonic() - began
    acts, expected = json.loads(note.read_text()), content(straight)
    bad: list[str] = []
    tried = 0

    def trial(name: str, kills: Sequence[int], outside: float | None = None) -> None:
        nonlocal tried
        place = folder / "killed"
        place.mkdir()
        at, *more = kills or [None]
        ended = forked(lambda: begin(words, page, at), place, outside)
        assert ended == signal.SIGKILL or outside is not None, f"{name}: act {at} never came"
        for again in more:
            forked(lambda at=again: go_on(words, page, at), place)
        try:
            forked(lambda: go_on(words, page), place)
            wrong = compared(place, expected)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        tried += 1
        if wrong:
            bad.append(f"{name}: {wrong}")
            place.rename(folder / f"bad-{len(bad)}")
        else:
            shutil.rmtree(place)

    for n in chosen(acts, plan.get("moments", [])):
        trial(f"act {n} of {len(acts)}, {acts[n - 1]}", [n])
    chance = random.Random(plan.get("seed", 0))
    for _ in range(plan.get("twice", 0)):
        pair = [chance.randint(1, len(acts)), chance.randint(1, len(acts))]
        trial(f"acts {pair}", pair)
    for _ in range(plan.get("outside", 0)):
        moment = chance.uniform(0, lasted)
        trial(f"after {moment:.3f} s of {lasted:.3f}", [], moment)
    return {"acts": acts, "tried": tried, "differing": bad}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), json.loads(sys.argv[2]))))
