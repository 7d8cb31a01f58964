"""What this machine calls itself; told without torch."""

from __future__ import annotations

import platform
from pathlib import Path


def cpu_name() -> str:
    """The processor's name as its maker gives it, where the system tells."""
    return _told().get("model name") or platform.processor() or platform.machine()


def cpu_model() -> str:
    """Name, family and model: rented machines of several generations bear one name."""
    told = _told()
    return " ".join([cpu_name(), *(told[key] for key in ("cpu family", "model") if key in told)])


def _told() -> dict[str, str]:
    """What Linux says of the first processor."""
    cpuinfo = Path("/proc/cpuinfo")
    first = cpuinfo.read_text().partition("\n\n")[0] if cpuinfo.is_file() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
