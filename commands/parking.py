"""What can be given up for good, and then be tried again or let go of by whoever looks after the service.

A context declares it where it has the commands; operators find it, whatever context it is of.
"""

from __future__ import annotations

from commands.kernel import Command
from domain import discovery
from domain.kernel import Value


class Parking(Value):
    """A kind of thing that is given up: where those that were are read, and the commands by their ids.

    `read_model` has documents of `projections.parking`. A document whose owner is none of those in `owners` (also a
    read model) any more is nobody's, and nobody has to see to it.
    """

    kind: str
    plural: str
    read_model: str
    owners: str | None
    retry: type[Command]
    skip: type[Command]


#: Every one that was declared, by its kind.
_PARKINGS: dict[str, Parking] = {}


def can_be_parked(
    kind: str, plural: str, *, read_model: str, retry: type[Command], skip: type[Command], owners: str | None = None
) -> Parking:
    """Declare it; both commands have the id of the thing for their only field."""
    taken = {"job", "jobs", "stream", "streams", "refused", *_PARKINGS, *(each.plural for each in _PARKINGS.values())}
    assert not taken & {kind, plural}, f"something else is called {kind} or {plural}"
    for command in (retry, skip):
        assert len(command.__struct_fields__) == 1, f"{command.__name__} takes more than an id"
    _PARKINGS[kind] = Parking(kind=kind, plural=plural, read_model=read_model, owners=owners, retry=retry, skip=skip)
    return _PARKINGS[kind]


def parkings() -> dict[str, Parking]:
    """Everything that can be given up, by its kind; imports no more than declares something."""
    discovery.modules("commands", saying="can_be_parked(")
    return _PARKINGS
