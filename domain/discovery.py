"""Finds what contexts provide: the modules of a layer, ours and those of extensions. Nothing is listed by hand.

An extension is a package with layers of its own, `{extension}.domain`, `{extension}.commands` and so on; it may leave
out any of them. `LEDGERLINE_EXTENSIONS` names the extensions, with commas.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
from functools import cache
from importlib.abc import InspectLoader
from types import ModuleType

LAYERS = ("domain", "commands", "projections", "adapters", "api", "infra")
EXTENSIONS = "LEDGERLINE_EXTENSIONS"


def extensions() -> tuple[str, ...]:
    """The packages that bring further contexts."""
    return tuple(name.strip() for name in os.environ.get(EXTENSIONS, "").split(",") if name.strip())


def modules(layer: str, named: str | None = None, *, saying: str | None = None) -> tuple[ModuleType, ...]:
    """Every module of a layer (or of a room in one, such as `infra.cli`), imported; ours first.

    With `named`, only the modules of that name, and with `saying`, only those whose source has these words, and the
    packages on the way to them: the rest may be slow to import.
    """
    return _modules(layer, extensions(), named, saying)


@cache
def _modules(layer: str, extended_by: tuple[str, ...], named: str | None, saying: str | None) -> tuple[ModuleType, ...]:
    found = []
    for root in (layer, *(f"{extension}.{layer}" for extension in extended_by)):
        if root != layer and not _exists(root):
            continue
        package = importlib.import_module(root)
        below = pkgutil.walk_packages(package.__path__, f"{root}.")
        if named is None and saying is None:
            found.append(package)
        found.extend(
            importlib.import_module(each.name)
            for each in below
            if (named is None or each.name.rpartition(".")[2] == named) and (saying is None or _says(each.name, saying))
        )
    return tuple(found)


def _says(name: str, words: str) -> bool:
    """Whether the source of a module has these words."""
    spec = importlib.util.find_spec(name)
    loader = spec.loader if spec is not None else None
    return isinstance(loader, InspectLoader) and words in (loader.get_source(name) or "")


def _exists(name: str) -> bool:
    """Whether there is such a module below a package, which itself must be there."""
    extension, _, layer = name.partition(".")
    while layer:
        importlib.import_module(extension)
        step, _, layer = layer.partition(".")
        extension = f"{extension}.{step}"
        if importlib.util.find_spec(extension) is None:
            return False
    return True


def context_of(module: str) -> str:
    """The context that a module belongs to: what comes after its layer, `licensing` in `domain.licensing.licenses`."""
    steps = module.split(".")
    layer = next((place for place, step in enumerate(steps) if step in LAYERS), 0)
    return steps[layer + 1]
