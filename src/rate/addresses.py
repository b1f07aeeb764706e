"""Addresses of Python code outside this library: `package.module:name` or `path/to/file.py:name`.

Importing an address runs the code that it names. What the user names, on the command line or in
Python, is code that the user wants to run; an address that stands in a file is imported only if
the user has named it, too, or trusts the file.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

_trusted: set[str] = set()
"""Addresses that may be imported in this process, whatever file names them."""


class UntrustedError(ValueError):
    """A file names code that the user has not named."""


def trust(addresses: Iterable[str]) -> None:
    """Let files name these addresses, as long as this process lives."""
    _trusted.update(addresses)


def require_trusted(addresses: Iterable[str], origin: object, trusted: bool) -> None:
    """Refuse code that a file names; what is trusted once is trusted as long as this process lives.

    Args:
        addresses: The addresses that the file names.
        origin: The file.
        trusted: Whether the user trusts it.

    Raises:
        UntrustedError: the user has neither named an address nor trusts the file.
    """
    if trusted:
        trust(addresses)
    for address in addresses:
        if address not in _trusted:
            raise UntrustedError(
                f"{origin} names the code {address!r}, which would be run: look at it, and if you "
                "trust it, allow it with --trust, in Python with trust=True"
            )


def import_address(address: str) -> Any:
    """The object that an address such as `package.module:Config` names.

    Raises:
        ValueError: the address is malformed, the module fails, or it lacks the name.
        ModuleNotFoundError: there is no such module.
    """
    where, _, name = address.rpartition(":")
    module = import_module(where)
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if _is_own(value, module)]
        raise ValueError(
            f"{address}: there is no {name!r} in {where}; it has {', '.join(own) or 'nothing'}"
        )
    return getattr(module, name)


def address_of(cls: type) -> str:
    """The address of a class, from which `import_address` finds it again in another process."""
    if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
        raise ValueError(
            f"{cls.__qualname__} has no address: define it at the top level of a module or file "
            "that can be imported, not in __main__ or inside a function"
        )
    return f"{cls.__module__}:{cls.__qualname__}"


def import_module(where: str) -> ModuleType:
    """The module of a dotted name or of the path of a Python file.

    Args:
        where: A module that is installed or lies in the current folder, or a path that ends in
            `.py`. The folder of such a file is importable for it, and its module is named by its
            path, relative to the current folder if it lies below that.

    Raises:
        ValueError: `where` is neither, or the code of the module fails.
        ModuleNotFoundError: there is no such module, or one that it needs is not installed.
    """
    try:
        if where.endswith(".py"):
            return _import_file(Path(where))
        if not all(part.isidentifier() for part in where.split(".")):
            raise ValueError(
                f"{where!r} names no Python code: give package.module or path/to/file.py"
            )
        _make_importable(Path.cwd())
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{where} cannot be imported: there is no module {error.name!r}, neither installed "
            "nor in the current folder: install its package, or run the command in the folder "
            "that holds it"
        ) from error


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give the path of a Python file")
    here = Path.cwd().resolve()
    name = (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()
    if name in sys.modules:
        return sys.modules[name]
    _make_importable(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception) and not isinstance(error, ModuleNotFoundError):
            kind = type(error).__name__
            raise ValueError(f"{name} cannot be imported: {kind}: {error}") from error
        raise
    return module


def _make_importable(folder: Path) -> None:
    """Put a folder last on the path of imports, so that it hides no installed module."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def _is_own(value: Any, module: ModuleType) -> bool:
    return getattr(value, "__module__", "") == module.__name__
