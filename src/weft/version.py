"""The version of weft that runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("weft")
except PackageNotFoundError:  # A source tree on the path, which nothing has installed.
    __version__ = "0+source"
