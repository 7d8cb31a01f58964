"""An action on tensors of a GPU, recorded once as a CUDA graph: replayed without launches."""

from __future__ import annotations

from collections.abc import Callable

import torch

from weft.nn.recording import uncollected

_FIRST = 3
"""Calls before one is recorded: libraries set themselves up, kernels are compiled in them."""


class Replay:
    """Does the action at each call; on a GPU the fourth call records it, and later ones replay it.

    Args:
        action: changes tensors in place, reads no number from the host that changes from call to
            call, and waits for nothing.
        device: of its tensors.
    """

    def __init__(self, action: Callable[[], object], device: torch.device) -> None:
        self.action, self.on_gpu, self.calls = action, device.type == "cuda", 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Once more."""
        if self.graph is not None:
            self.graph.replay()
        elif not self.on_gpu:
            self.action()
        elif self.calls < _FIRST:
            self.calls += 1
            # On a stream of its own, as recording is.
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
