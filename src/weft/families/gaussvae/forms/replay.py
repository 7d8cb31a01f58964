"""Captures an action on GPU tensors as a CUDA graph, and replays it without kernel launches."""

from __future__ import annotations

from collections.abc import Callable

import torch

from weft.nn.recording import uncollected

_FIRST = 3
"""Calls before the capture, in which libraries initialise and kernels are compiled."""


class Replay:
    """Runs the action at each call; on a GPU the fourth call captures it, and later ones replay it.

    Args:
        action: changes tensors in place; it must not depend on host values that change between
            calls, nor wait for the device.
        device: of its tensors.
    """

    def __init__(self, action: Callable[[], object], device: torch.device) -> None:
        self.action, self.on_gpu, self.calls = action, device.type == "cuda", 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Runs the action once."""
        if self.graph is not None:
            self.graph.replay()
        elif not self.on_gpu:
            self.action()
        elif self.calls < _FIRST:
            self.calls += 1
            # On another stream, as the capture is.
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self.action()
            torch.cuda.current_stream().wait_stream(stream)
        else:
            self.graph = torch.cuda.CUDAGraph()
            with uncollected(), torch.cuda.graph(self.graph):
                self.action()
            self.graph.replay()
