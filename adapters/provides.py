"""How the parts of a process are made: functions beside the parts, found by the type that they return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

F = TypeVar("F", bound=Callable[..., Any])

#: What makes a part, by its type and by every port (protocol) that its type names among its bases.
PROVIDERS: dict[type, Callable[..., Any]] = {}


def provides(function: F) -> F:
    """Register what makes a part of a process, named by the return annotation (`| None`: it may be turned off).

    The parameters are other parts, by their types. It is called once in a process at most, when somebody needs the
    part; it may be a coroutine function. What has a `close` without parameters is closed with the process, last made
    first.
    """
    for kind in keys(get_type_hints(function)["return"]):
        assert kind not in PROVIDERS, f"two functions provide {kind.__qualname__}"
        PROVIDERS[kind] = function
    return function


def keys(annotation: Any) -> list[type]:
    """The types by which a part can be asked for: its own, and the ports that it says it implements."""
    own = kind_of(annotation)
    return [own, *(base for base in own.__mro__[1:] if getattr(base, "_is_protocol", False) and base is not Protocol)]


def kind_of(annotation: Any) -> type:
    """The type in an annotation that may also allow None, without the types of what it holds."""
    inner = [each for each in get_args(annotation) if each is not type(None)]
    if type(None) in get_args(annotation) and len(inner) == 1:
        annotation = inner[0]
    found: type = get_origin(annotation) or annotation
    return found
