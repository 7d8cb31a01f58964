"""What follows training: samples, the page, and pictures in TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weft.errors import Interrupted
from weft.run.model import Trained
from weft.run.registry import Run, open_run
from weft.run.sinks.tensorboard import add_pictures
from weft.shell import spelt
from weft.stopping import Stopped, name_of
from weft.system import fault


def finish(trained: Trained | None, make_report: bool) -> Run | None:
    """The run of a trained model, with samples and page if `make_report`; None for None."""
    if trained is None:
        return None
    run = open_run(trained.directory.path)
    if make_report:
        # Imported here: matplotlib takes long to load and is not needed before.
        from weft.reports.page import write_page
        from weft.run.samples import draw

        with _finished(run.path, "sample", "report"):
            draw(trained)
        with _finished(run.path, "report"):
            write_page(run, trained.parts.task)
            if trained.parts.config.log.tensorboard:
                add_pictures(trained.directory, trained.step)
    return run


@contextmanager
def _finished(path: Path, *verbs: str) -> Iterator[None]:
    """Adds to errors inside that the run itself is finished, and which commands make the rest.

    Raises:
        Interrupted: if a signal stopped the work.
        WeftError: if the surroundings are at fault.
    """
    again = "\n".join(spelt(verb, path) for verb in verbs)
    saved = "the run is finished, its page is not made yet"
    try:
        yield
    except (KeyboardInterrupt, Stopped) as error:
        raise Interrupted(name_of(error), str(path), again, saved) from error
    except Exception as error:
        found = fault(error)
        if found is None:
            error.add_note(f"{saved}:\n{again}")
            raise
        told = f"the run is finished; for its page: {', then '.join(again.splitlines())}"
        found.hint = "\n".join(filter(None, (found.hint, told)))
        raise found from error
