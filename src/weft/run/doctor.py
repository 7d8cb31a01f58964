"""What weft finds on this machine: versions, devices, data sets and optional packages."""

from __future__ import annotations

import os
import platform
import re
from collections import defaultdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from weft import families
from weft.config import kinds
from weft.data.catalog.sets import SETS
from weft.data.fetch import locate
from weft.errors import WeftError
from weft.machine import cpu_name
from weft.system import fault
from weft.version import __version__

_REQUIREMENT = re.compile(r"^([\w.-]+)(?:.*extra\s*==\s*['\"]([\w-]+)['\"])?")


def examine() -> dict[str, Any]:
    """Everything that a run depends on outside its config.

    Returns: versions of `weft`, `python` and `torch`; numbers of `cores` and `threads`; `devices`,
        device -> name; `data`, set -> `here`, `not here` or `not looked for`; `packages`, and
        `extras` by extra, package -> version, None where it is missing; `families`, family -> the
        package that brings it, "" for weft; `broken`, plug-in that does not load -> why; and
        `problems`, sentences on what must be mended.
    """
    packages, extras = _packages()
    torch, trouble = _torch()
    problems = [f"`{name}` is not installed" for name, found in packages.items() if found is None]
    problems += [trouble] if trouble else []
    working, absent = families.survey()
    broken = {f"family {name}": error.brief for name, error in absent.items()}
    for section in kinds.SECTIONS:
        for tag, error in kinds.broken(section).items():
            broken[f"{section} {tag}"] = error.brief
    problems += [f"{name} is broken" for name in broken]
    data = {}
    for name in SETS:
        try:
            data[name] = "here" if locate(name).complete else "not here"
        except (OSError, WeftError) as error:
            data[name] = "not looked for"
            if (found := fault(error)) is not None:
                problems.append(found.brief)
    return {
        "weft": __version__,
        "python": platform.python_version(),
        "torch": "does not load" if torch is None else str(torch.__version__),
        "cores": os.cpu_count(),
        "threads": 0 if torch is None else torch.get_num_threads(),
        "devices": _devices(torch),
        "data": data,
        "packages": packages,
        "extras": extras,
        "families": {name: families.brought_by(name) for name in working},
        "broken": broken,
        "problems": list(dict.fromkeys(problems)),
    }


def _torch() -> tuple[Any, str]:
    """The module torch, or None and why there is none."""
    try:
        return import_module("torch"), ""
    # A broken installation may raise anything; the user asked what is wrong with it.
    except Exception as error:
        found = fault(error)
        return None, f"`torch` cannot be imported: {error}" if found is None else found.message


def _devices(torch: Any) -> dict[str, str]:
    if torch is None:
        return {"cpu": cpu_name()}
    found = {"cpu": f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}"}
    for index in range(torch.cuda.device_count()):
        found[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def _packages() -> tuple[dict[str, str | None], dict[str, dict[str, str | None]]]:
    """Versions of what weft needs, and of what each extra needs."""
    needed: dict[str, str | None] = {}
    extras: dict[str, dict[str, str | None]] = defaultdict(dict)
    for line in requires("weft") or ():
        match = _REQUIREMENT.match(line)
        assert match is not None, line
        (extras[match[2]] if match[2] else needed)[match[1]] = _version(match[1])
    return needed, dict(extras)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
