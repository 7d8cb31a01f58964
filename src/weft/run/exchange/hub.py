"""Uploads exported weights to the Hugging Face hub, and downloads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from weft.config.place import told
from weft.errors import MissingExtra, SystemFault, UsageError, WrongRun
from weft.run.directory import RunDirectory
from weft.run.export import exported_config
from weft.run.registry import Run

if TYPE_CHECKING:
    from huggingface_hub import HfApi

WEIGHTS = "model.safetensors"


def push(run: Run, repository: str, *, private: bool = False) -> str:
    """Uploads a finished run's weights, config and a model card in one commit.

    Args:
        run: finished.
        repository: OWNER/NAME; made if it does not exist.
        private: whether to make a new repository private.

    Returns: the repository's address.

    Raises:
        WrongRun: if the run has no exported weights.
        MissingExtra: if huggingface_hub is not installed.
        UsageError: if the hub refuses the name or the user.
        SystemFault: if the hub cannot be reached.
    """
    weights = RunDirectory(run.path).weights
    if not weights.is_file():
        raise WrongRun(
            f"the run has no weights to give away (it is {run.state})",
            where=str(run.path),
            expected=f"a finished run, which has a {WEIGHTS}",
        )
    with _hub() as hub:
        from huggingface_hub import CommitOperationAdd

        address = hub.create_repo(repository, private=private, exist_ok=True)
        files: dict[str, str | bytes] = {
            WEIGHTS: str(weights),
            "config.yaml": str(run.path / "config.yaml"),
            "README.md": _card(run, repository).encode(),
        }
        hub.create_commit(
            repository,
            [
                CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
                for name, content in files.items()
            ],
            commit_message=f"{run.family}/{run.name} at step {run.status['step']}",
        )
    return str(address)


def pull(repository: str, folder: Path, revision: str | None = None) -> Path:
    """Downloads the weights that `push` uploaded, and returns their file.

    Args:
        repository: OWNER/NAME.
        folder: where the file goes.
        revision: branch, tag or commit; the newest if None.

    Raises:
        CheckpointError: if weft did not write the file.
        MissingExtra, UsageError, SystemFault: as for `push`.
    """
    with _hub() as hub:
        # Fails at once if the hub is out of reach; a download would retry for half a minute.
        commit = hub.model_info(repository, revision=revision).sha
        file = Path(hub.hf_hub_download(repository, WEIGHTS, local_dir=folder, revision=commit))
    exported_config(file)
    return file


@contextmanager
def _hub() -> Iterator[HfApi]:
    """The hub's client, with its errors turned into weft's."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            HFValidationError,
            LocalTokenNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise MissingExtra("huggingface_hub", "hub", "the Hugging Face hub") from error
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="weft")
    try:
        yield hub
    except (HFValidationError, LocalTokenNotFoundError) as error:
        raise UsageError(f"the hub's client: {told(error)}", hint=_LOGIN) from error
    except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        if getattr(error, "response", None) is None:
            raise _unreachable(hub, error) from error
        raise UsageError(
            f"the hub has no such thing: {told(error)}", where=hub.endpoint, hint=_LOGIN
        ) from error
    except HfHubHTTPError as error:
        raise UsageError(
            f"the hub refused: {told(error)}", where=hub.endpoint, hint=_LOGIN
        ) from error
    except Exception as error:
        # What is left are errors of this machine or of weft, and those of the client's transport
        # library, which has changed between releases.
        ours = type(error).__module__.partition(".")[0] in ("builtins", "weft")
        if ours and not isinstance(error, ConnectionError | TimeoutError):
            raise
        raise _unreachable(hub, error) from error


def _unreachable(hub: HfApi, error: Exception) -> SystemFault:
    return SystemFault(
        f"the Hugging Face hub cannot be reached: {told(error)}",
        where=hub.endpoint,
        expected="a connection, or HF_ENDPOINT with the address of a mirror",
        hint=f"a run's {WEIGHTS} can be copied by hand, and `weft.load` reads it",
    )


_LOGIN = "`hf auth login`, or a token in HF_TOKEN, says who you are"


def _card(run: Run, repository: str) -> str:
    """The repository's README: what the model is, its metrics, how it is used."""
    numbers = "\n".join(f"| {name} | {value:.6g} |" for name, value in run.metrics.items())
    name = repository.rpartition("/")[2]
    return f"""---
library_name: weft
tags: [weft, {run.family}]
---

# {name}

`weft train {run.status["recipe"]}`, family {run.family}, {run.status["step"]:,} steps, seed \
{run.config["seed"]}. `config.yaml` is the whole config.

| metric | value |
|---|--:|
{numbers}

```bash
weft pull {repository}
```

```python
import weft

model = weft.load("{name}/{WEIGHTS}")
```
"""
