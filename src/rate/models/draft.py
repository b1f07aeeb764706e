"""What a description of a module would need, before anything of that size is allocated.

Descriptions come from files: a few bytes may ask for millions of layers, or for tables of any size.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.nn.modules import module as registration

LARGEST_TABLES = 2**27
"""Most numbers in tables that a module computes when it is made, such as those of positions."""

_Module = TypeVar("_Module", bound=nn.Module)


def draft(make: Callable[[], _Module], tensors: int, numbers: int) -> _Module | None:
    """The module without storage for its numbers, if it is as small as the file that describes it.

    Args:
        make: Makes the module.
        tensors: Tensors in the file.
        numbers: Numbers in these.

    Returns:
        The module on the device "meta"; None if it needs numbers to be made, as an outside model
        may.

    Raises:
        ValueError: it has more parts or numbers than the file; `make` may raise other errors.
    """
    try:
        with _at_most(2 * tensors + 100), torch.device("meta"):  # a part may replace another
            module = make()
    except NotImplementedError:
        return None
    stored = module.state_dict()
    tables = sum(one.numel() for name, one in module.named_buffers() if name not in stored)
    needed = sum(one.numel() for one in stored.values())
    if needed > numbers or tables > LARGEST_TABLES:
        raise ValueError(
            f"the model would hold {needed} numbers and tables of {tables}, but the file has "
            f"{numbers} and tables may have {LARGEST_TABLES}"
        )
    return module


@contextlib.contextmanager
def _at_most(parts: int) -> Iterator[None]:
    """Refuse to make more parameters."""
    made = 0

    def count(*_: Any) -> None:
        nonlocal made
        made += 1
        if made > parts:
            raise ValueError("the model would have more parts than the file has tensors")

    handle = cast(Any, registration).register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
