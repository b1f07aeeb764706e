"""Functions of tensors that stay in their place: on CUDA captured once as a graph and replayed."""

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor


class Capture:
    """Runs functions that read and write tensors in place; elsewhere than on CUDA it calls them.

    Args:
        device: Where they compute.
        unchanged: A context that gives all tensors which they write their values of before.
        what: What they do, in the plural, for the warning that they cannot be captured.
    """

    def __init__(
        self,
        device: torch.device,
        unchanged: Callable[[], AbstractContextManager[None]],
        what: str,
    ) -> None:
        self.device, self.unchanged, self.what = device, unchanged, what
        self.graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        """Graphs and their results, by what tells the functions apart."""
        self.cuda = device.type == "cuda"
        """Whether functions are captured."""
        if self.cuda:
            self._stream = torch.cuda.Stream(device)
            self._pool = torch.cuda.graph_pool_handle()

    def run(self, key: Hashable, body: Callable[[], Tensor]) -> Tensor:
        """The result of a function, which the next run overwrites.

        Args:
            key: Tells the function and all of its shapes apart from others.
            body: The function. If it reads a tensor on the host, it cannot be captured: this is
                said once, and functions are then called.
        """
        if self.cuda and key not in self.graphs:
            try:
                self.graphs[key] = self._capture(body)
            except RuntimeError as error:
                self.graphs.clear()
                self.cuda = False
                warnings.warn(
                    f"{self.what} cannot be captured as CUDA graphs and are computed one operation "
                    f"after another, which is slower: {str(error).splitlines()[0]}",
                    stacklevel=2,
                )
        if not self.cuda:
            return body()
        graph, result = self.graphs[key]
        graph.replay()
        return result

    def _capture(self, body: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Capture a function. It runs twice before, on values that are put back: for what is made
        at first use, and to see that nothing is read on the host."""
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), self.unchanged():
            body()
            torch.cuda.set_sync_debug_mode("error")
            try:
                body()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        current.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # Threads that pin memory go on meanwhile.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            result = body()
        return graph, result


@contextmanager
def values_kept(tensors: Callable[[], Iterator[Tensor]]) -> Iterator[None]:
    """Give tensors their values of before at the end; those that are new become zero."""
    before = [(tensor, tensor.detach().clone()) for tensor in tensors()]
    known = {id(tensor) for tensor, _ in before}
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
            for tensor in tensors():
                if id(tensor) not in known:
                    tensor.zero_()
