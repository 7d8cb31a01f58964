"""What authors of families import: `Task`, `Context`, `Metric`, `Parent`."""

from typing import TYPE_CHECKING

from weft.lazy import lazy

if TYPE_CHECKING:
    from weft.task.context import Context
    from weft.task.metric import Metric
    from weft.task.parent import Parent
    from weft.task.task import Task

__all__ = ["Context", "Metric", "Parent", "Task"]

__getattr__ = lazy(
    __name__,
    {"Context": ".context", "Metric": ".metric", "Parent": ".parent", "Task": ".task"},
)
