"""A licence: one activation code of a project, and the machines that it is activated on.

Machines are known by keyed digests only. A code is sealed like everything that leads to a person, because whoever has
it may use it; its licence is named by a keyed digest of it, so whoever asks about a code finds it without a search.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, TypeVar

from msgspec import field
from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Exhausted, Forbidden, NotFound, State, Value, personal

T = TypeVar("T")

KeyType = Literal["project_test", "purchase", "trial", "nfr"]
WhyDeactivated = Literal["asked", "released", "dead", "transferred"]
#: What `validate` says when a code is not valid here.
Verdict = Literal[
    "valid",
    "code_not_found",
    "code_revoked",
    "expired",
    "deactivated",
    "not_activated",
    "version_not_covered",
    "entitlement_missing",
]

MACHINES_MAX = 1000
TRIAL_DAYS = 14
CHURN_WINDOW = timedelta(hours=24)
#: Of the machines that a code was active on once, so many are remembered by name.
FORMER_MAX = 1000


class LicenseIssued(Event):
    """There is a code for a project now. A trial's time begins when it is first activated."""

    target: ClassVar[str] = "license"

    license_id: str
    workspace_id: str
    project_id: str
    code: Annotated[str, personal("workspace_id")]
    key_type: KeyType
    max_activations: int
    issued_at: datetime
    notes: Annotated[str, personal("workspace_id")] = ""
    expires_at: datetime | None = None
    trial_days: int | None = None
    entitlements: tuple[str, ...] = ()
    updates_until: datetime | None = None
    #: A machine that does not show itself for so long is dead.
    heartbeat_seconds: int | None = None
    transferred_from: str | None = None


class MachineActivated(Event):
    """It is used on this machine now."""

    license_id: str
    workspace_id: str
    activation_id: str
    machine: str
    activated_at: datetime
    fingerprints: tuple[str, ...] = ()
    name: Annotated[str, personal("workspace_id")] = ""
    #: When it is dead unless it shows itself before.
    dead_at: datetime | None = None


class MachineSeen(Event):
    """A machine that has to show itself from time to time has done so."""

    license_id: str
    activation_id: str
    seen_at: datetime
    dead_at: datetime


class MachineRecognised(Event):
    """The machine of an activation has changed a component, and is the same still."""

    license_id: str
    activation_id: str
    machine: str
    fingerprints: tuple[str, ...]
    recognised_at: datetime
    dead_at: datetime | None = None


class MachineDeactivated(Event):
    """It is not used on this machine any more, and why."""

    license_id: str
    activation_id: str
    machine: str
    because: WhyDeactivated
    deactivated_at: datetime


class TrialStarted(Event):
    """The time of a trial has begun."""

    target: ClassVar[str] = "license"

    license_id: str
    started_at: datetime
    ends_at: datetime


class LicenseRevoked(Event):
    """It is good for nothing until it is reinstated."""

    license_id: str
    workspace_id: str
    revoked_at: datetime
    reason: Annotated[str, personal("workspace_id")] = ""


class LicenseReinstated(Event):
    """It is good again."""

    license_id: str
    reinstated_at: datetime


class LicenseExpired(Event):
    """Its time, or that of its trial, is over. It was so from that moment, whenever this is written down."""

    license_id: str
    expired_at: datetime


class LicenseForgotten(Event):
    """Whose it was is forgotten, and it with them."""

    license_id: str
    forgotten_at: datetime


class LicenseTransferred(Event):
    """It belongs to somebody else, under another code; this code is good for nothing for ever."""

    license_id: str
    to_license_id: str
    transferred_at: datetime


class LicenseTermsSet(Event):
    """What it allows is something else than before."""

    target: ClassVar[str] = "license"

    license_id: str
    workspace_id: str
    max_activations: int
    expires_at: datetime | None
    entitlements: tuple[str, ...]
    updates_until: datetime | None
    heartbeat_seconds: int | None
    notes: Annotated[str, personal("workspace_id")]
    set_at: datetime


class Machine(Value):
    """A machine that a licence is activated on."""

    activation_id: str
    activated_at: datetime
    seen_at: datetime
    fingerprints: tuple[str, ...] = ()

    def resembles(self, fingerprints: tuple[str, ...]) -> bool:
        """Whether these are the components of this machine, all but one at most."""
        if not fingerprints or len(fingerprints) != len(self.fingerprints):
            return False
        return sum(mine != theirs for mine, theirs in zip(self.fingerprints, fingerprints, strict=True)) <= 1

    def differs(self, known_as: str, machine: str, fingerprints: tuple[str, ...]) -> bool:
        """Whether this machine, known by one digest, shows another one now, or other components."""
        return known_as != machine or fingerprints not in ((), self.fingerprints)


class License(State):
    """What rules know of a licence."""

    workspace_id: str = ""
    project_id: str = ""
    key_type: KeyType = "project_test"
    max_activations: int = 0
    issued_at: datetime | None = None
    revoked: bool = False
    transferred_to: str | None = None
    expires_at: datetime | None = None
    trial_days: int | None = None
    trial_ends_at: datetime | None = None
    #: The end of its time that is written down.
    expired_at: datetime | None = None
    entitlements: tuple[str, ...] = ()
    updates_until: datetime | None = None
    heartbeat_seconds: int | None = None
    #: Since when its machines have to show themselves.
    watched_since: datetime | None = None
    notes: str = ""
    #: By the digest of the machine, oldest first.
    machines: Mapping[str, Machine] = field(default_factory=dict)
    #: What it was active on once, oldest first, each with its last activation.
    former: Mapping[str, str] = field(default_factory=dict)
    #: When it was activated in the last day, so that seats are not handed round.
    activated: tuple[datetime, ...] = ()

    @property
    def ends_at(self) -> datetime | None:
        """When it ends, if it does: as it was issued, or as a trial."""
        ends = [end for end in (self.expires_at, self.trial_ends_at) if end is not None]
        return min(ends) if ends else None

    def has_ended(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.ends_at is not None and now >= self.ends_at

    def find(self, machine: str, fingerprints: tuple[str, ...] = ()) -> tuple[str, Machine] | None:
        """The active machine that this is, by its digest or by its components, and the digest it is known by."""
        if known := self.machines.get(machine):
            return machine, known
        return next(((name, each) for name, each in self.machines.items() if each.resembles(fingerprints)), None)

    def dead_at(self, seen_at: datetime) -> datetime | None:
        """When a machine that was seen then is dead; None where machines need not show themselves.

        A quarter more than said: so old may be what is written down of the last time it was seen.
        """
        if self.heartbeat_seconds is None:
            return None
        return seen_at + timedelta(seconds=self.heartbeat_seconds * 1.25)

    def dead(self, now: datetime) -> list[str]:
        """The machines that have not shown themselves in time."""
        since = self.watched_since
        if since is None:
            return []
        ends = {name: self.dead_at(max(each.seen_at, since)) for name, each in self.machines.items()}
        return [name for name, end in ends.items() if end is not None and now >= end]

    def is_news(self, machine: Machine, now: datetime) -> bool:
        """Whether it is worth writing down that a machine was seen: four times within the time that it has."""
        return self.heartbeat_seconds is not None and now - machine.seen_at >= timedelta(
            seconds=self.heartbeat_seconds / 4
        )

    def activations_within_a_day(self, now: datetime) -> tuple[datetime, ...]:
        """When it was activated on a machine, or a machine recognised, in the last day."""
        return _within_a_day(self.activated, now)

    def covers(self, released_at: datetime | None) -> bool:
        """Whether it is good for a version that was released then."""
        return self.updates_until is None or released_at is None or released_at <= self.updates_until

    def verdict(
        self,
        machine: str,
        now: datetime,
        *,
        project_id: str | None = None,
        fingerprints: tuple[str, ...] = (),
        released_at: datetime | None = None,
        entitlements: tuple[str, ...] = (),
    ) -> Verdict:
        """Whether it is valid on a machine, and if not, the first reason in the documented order."""
        if not self.is_of(project_id):
            return "code_not_found"
        if self.revoked:
            return "code_revoked"
        if self.has_ended(now):
            return "expired"
        if self.find(machine, fingerprints) is None:
            return "deactivated" if machine in self.former else "not_activated"
        if not self.covers(released_at):
            return "version_not_covered"
        return "valid" if set(entitlements) <= set(self.entitlements) else "entitlement_missing"

    def is_of(self, project_id: str | None) -> bool:
        """Whether there is such a licence, of this project where one is named."""
        return bool(self.workspace_id) and project_id in (None, self.project_id)


def evolve(license: License, event: Event) -> License:  # noqa: A002, PLR0911 - the noun; one for each event
    """A licence after one more event."""
    match event:
        case LicenseIssued():
            return License(
                workspace_id=event.workspace_id,
                project_id=event.project_id,
                key_type=event.key_type,
                max_activations=event.max_activations,
                issued_at=event.issued_at,
                expires_at=event.expires_at,
                trial_days=event.trial_days,
                entitlements=event.entitlements,
                updates_until=event.updates_until,
                heartbeat_seconds=event.heartbeat_seconds,
                watched_since=None if event.heartbeat_seconds is None else event.issued_at,
                notes=event.notes,
            )
        case LicenseForgotten():
            return License()
        case MachineActivated():
            made = Machine(
                activation_id=event.activation_id,
                activated_at=event.activated_at,
                fingerprints=event.fingerprints,
                seen_at=event.activated_at,
            )
            return replace(
                license,
                machines={**license.machines, event.machine: made},
                former=_without(license.former, event.machine),
                activated=(*_within_a_day(license.activated, event.activated_at), event.activated_at),
            )
        case MachineRecognised():
            was = next(
                (each for each in license.machines.items() if each[1].activation_id == event.activation_id), None
            )
            if was is None:
                return license
            changed = replace(was[1], fingerprints=event.fingerprints, seen_at=event.recognised_at)
            machines = {event.machine if name == was[0] else name: each for name, each in license.machines.items()}
            return replace(
                license,
                machines={**machines, event.machine: changed},
                activated=(*_within_a_day(license.activated, event.recognised_at), event.recognised_at),
            )
        case MachineSeen():
            seen = {
                name: replace(each, seen_at=event.seen_at) if each.activation_id == event.activation_id else each
                for name, each in license.machines.items()
            }
            return replace(license, machines=seen)
        case MachineDeactivated():
            former = {**_without(license.former, event.machine), event.machine: event.activation_id}
            while len(former) > FORMER_MAX:
                del former[next(iter(former))]
            return replace(license, machines=_without(license.machines, event.machine), former=former)
    return _restated(license, event)


def _restated(license: License, event: Event) -> License:  # noqa: A002, PLR0911 - the noun; one for each event
    """A licence after an event that is about none of its machines."""
    match event:
        case TrialStarted():
            return replace(license, trial_ends_at=event.ends_at)
        case LicenseExpired():
            return replace(license, expired_at=event.expired_at)
        case LicenseRevoked():
            return replace(license, revoked=True)
        case LicenseReinstated():
            return replace(license, revoked=False)
        case LicenseTransferred():
            return replace(license, revoked=True, transferred_to=event.to_license_id)
        case LicenseTermsSet():
            return replace(
                license,
                max_activations=event.max_activations,
                expires_at=event.expires_at,
                entitlements=event.entitlements,
                updates_until=event.updates_until,
                heartbeat_seconds=event.heartbeat_seconds,
                watched_since=_watched_since(license, event),
                notes=event.notes,
            )
    return license


def _watched_since(license: License, event: LicenseTermsSet) -> datetime | None:  # noqa: A002 - the noun
    """Whoever has to show themselves from now on, or more often, has the whole time for the first time."""
    if event.heartbeat_seconds is None:
        return None
    return license.watched_since if event.heartbeat_seconds == license.heartbeat_seconds else event.set_at


def _within_a_day(moments: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    return tuple(each for each in moments if now - each < CHURN_WINDOW)


def _without(things: Mapping[str, T], name: str) -> dict[str, T]:
    return {each: thing for each, thing in things.items() if each != name}


class CodeNotFound(NotFound):
    """There is no such activation code."""


class NotActivated(NotFound):
    """This code is not activated on this machine."""


class CodeRevoked(Forbidden):
    """This license was revoked. Ask whoever you have it from."""


class CodeExpired(Forbidden):
    """This license has expired."""


class VersionNotCovered(Forbidden):
    """This license covers versions released until {updates_until}. Use an earlier version, or renew it."""


class MaxActivationsReached(Forbidden):
    """This license is activated on {max_activations} machines, which is all it allows. Deactivate one of them."""


class TooManyActivations(Exhausted):
    """This license was activated too often in the last day. Try again tomorrow."""


class CodeTaken(Conflict):
    """This code exists already. Codes are given out once."""


class LicenseWasTransferred(Conflict):
    """This license has been transferred, so its old code stays revoked."""


licenses = Category(name="license", initial=License(), evolve=evolve, absent=CodeNotFound)
