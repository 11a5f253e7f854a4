"""What belongs to somebody else, kept by its context in `tests/<context>/victims.py`, for the laws on who may do what.

There are, as far as a context has any:

- `PUBLIC`: what anybody may ask there, without saying who they are;
- `THEIRS`: how to make somebody else's thing, for each name in a path, or for the path where one name means several;
- `BODIES` and `QUERIES`: what to send to a route so that it gets as far as looking for the thing;
- `ABSENT`: what nobody has in these tests, because it takes a whole build or a piece of music;
- `MAKES_ONES_OWN`: routes where what is named is one's own by that, whoever else has one of that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.identity.crowd import Json, Visitor
from tests.journeys.kit import Neighbour
from tests.walking import kept_modules

Make = Callable[[Visitor, Neighbour], str]


def made(them: Visitor, path: str, body: Json) -> str:
    """The id of what was made by a request."""
    answer = them.post(path, body)
    assert answer.status_code in (201, 202), answer.text
    return str(answer.json()["id"])


def mapping_of(name: str) -> dict[str, Any]:
    """What all contexts say under a name; no two say the same of one thing."""
    merged: dict[str, Any] = {}
    for module in kept_modules("victims"):
        said = getattr(module, name, {})
        assert not merged.keys() & said.keys(), f"{module} and another say {sorted(merged.keys() & said.keys())}"
        merged |= said
    return merged


def set_of(name: str) -> set[str]:
    """What all contexts list under a name."""
    return {each for module in kept_modules("victims") for each in getattr(module, name, ())}
