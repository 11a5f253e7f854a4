"""Issuing licences, activating them on machines, and changing what they allow."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import UNSET, UnsetType

from commands.idempotency import Once, claim
from commands.kernel import Command, Transaction, decides, handles
from domain.kernel import Event, Value
from domain.licensing.licenses import (
    CHURN_WINDOW,
    TRIAL_DAYS,
    CodeExpired,
    CodeNotFound,
    CodeRevoked,
    CodeTaken,
    KeyType,
    License,
    LicenseExpired,
    LicenseForgotten,
    LicenseIssued,
    LicenseReinstated,
    LicenseRevoked,
    LicenseTermsSet,
    LicenseTransferred,
    LicenseWasTransferred,
    Machine,
    MachineActivated,
    MachineDeactivated,
    MachineRecognised,
    MachineSeen,
    MaxActivationsReached,
    NotActivated,
    TooManyActivations,
    TrialStarted,
    VersionNotCovered,
    WhyDeactivated,
    licenses,
)
from domain.studio.projects import projects


class NewLicense(Value):
    """A code and what it allows."""

    license_id: str
    code: str
    key_type: KeyType = "project_test"
    max_activations: int = 2
    notes: str = ""
    expires_at: datetime | None = None
    trial_days: int | None = None
    entitlements: tuple[str, ...] = ()
    updates_until: datetime | None = None
    heartbeat_seconds: int | None = None


class IssueLicenses(Command):
    """Make these codes good for a project, all of them or none."""

    batch_id: str
    workspace_id: str
    project_id: str
    items: tuple[NewLicense, ...]
    once: Once | None = None


@handles(IssueLicenses)
async def issue(wish: IssueLicenses, transaction: Transaction) -> None:
    """A code is issued once; those that the project has already stay as they are."""
    (await transaction.load(projects, wish.project_id)).belongs_to(wish.workspace_id)
    if not await claim(transaction, wish.once, wish.batch_id):
        return
    for item in wish.items:
        known = await transaction.expect_new(licenses, item.license_id)
        if not known.workspace_id:
            transaction.record(licenses, item.license_id, _issued(wish, item, transaction.now))
        elif (known.workspace_id, known.project_id) != (wish.workspace_id, wish.project_id):
            raise CodeTaken(code=item.code)


def _issued(wish: IssueLicenses, item: NewLicense, now: datetime) -> LicenseIssued:
    return LicenseIssued(
        license_id=item.license_id,
        workspace_id=wish.workspace_id,
        project_id=wish.project_id,
        code=item.code,
        key_type=item.key_type,
        max_activations=item.max_activations,
        issued_at=now,
        notes=item.notes,
        expires_at=item.expires_at,
        trial_days=(item.trial_days or TRIAL_DAYS) if item.key_type == "trial" else None,
        entitlements=item.entitlements,
        updates_until=item.updates_until,
        heartbeat_seconds=item.heartbeat_seconds,
    )


class ActivateMachine(Command):
    """Use a licence on a machine, known by digests; `project_id` and `released_at` are of the plug-in that asks."""

    license_id: str
    activation_id: str
    machine: str
    churn_max: int
    fingerprints: tuple[str, ...] = ()
    name: str = ""
    project_id: str | None = None
    released_at: datetime | None = None


@decides(ActivateMachine, licenses)
def activate(wish: ActivateMachine, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """A machine takes one seat, however often it asks; one that has changed a component keeps it."""
    if not license.is_of(wish.project_id):
        raise CodeNotFound
    if license.revoked:
        raise CodeRevoked
    if license.has_ended(now):
        raise CodeExpired
    if not license.covers(wish.released_at):
        raise VersionNotCovered(updates_until=f"{license.updates_until:%Y-%m-%d}")
    found = license.find(wish.machine, wish.fingerprints)
    if found is not None and not found[1].differs(found[0], wish.machine, wish.fingerprints):
        return []
    if found is None and len(license.machines) >= license.max_activations:
        raise MaxActivationsReached(max_activations=license.max_activations)
    recent = license.activations_within_a_day(now)
    if recent and len(recent) >= license.max_activations + wish.churn_max:
        raise TooManyActivations(retry_after_seconds=_seconds_until(recent[0] + CHURN_WINDOW, now))
    if found is not None:
        return [_recognised(wish.license_id, license, found[1], wish.machine, wish.fingerprints, now)]
    events: list[Event] = []
    if license.trial_days is not None and license.trial_ends_at is None:
        ends_at = now + timedelta(days=license.trial_days)
        events.append(TrialStarted(license_id=wish.license_id, started_at=now, ends_at=ends_at))
    events.append(
        MachineActivated(
            license_id=wish.license_id,
            workspace_id=license.workspace_id,
            activation_id=wish.activation_id,
            machine=wish.machine,
            activated_at=now,
            fingerprints=wish.fingerprints,
            name=wish.name,
            dead_at=license.dead_at(now),
        )
    )
    return events


def _seconds_until(end: datetime, now: datetime) -> int:
    return max(1, round((end - now).total_seconds()))


class DeactivateMachine(Command):
    """Do not use a licence on a machine any more."""

    license_id: str
    machine: str
    project_id: str | None = None


@decides(DeactivateMachine, licenses)
def deactivate(wish: DeactivateMachine, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """A machine gives its seat back, also that of a licence that is revoked or over; twice is once."""
    if not license.is_of(wish.project_id):
        raise CodeNotFound
    if wish.machine not in license.machines:
        if wish.machine in license.former:
            return []
        raise NotActivated
    return [_deactivated(wish.license_id, license, wish.machine, "asked", now)]


class ReleaseMachine(Command):
    """Take a licence from a machine that is not at hand, by its activation."""

    license_id: str
    activation_id: str
    because: WhyDeactivated = "released"


@decides(ReleaseMachine, licenses)
def release(wish: ReleaseMachine, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """What was active once can be released as often as anybody likes."""
    for machine, each in license.machines.items():
        if each.activation_id == wish.activation_id:
            return [_deactivated(wish.license_id, license, machine, wish.because, now)]
    if wish.activation_id in license.former.values():
        return []
    raise NotActivated


def _deactivated(
    license_id: str,
    license: License,  # noqa: A002 - the noun
    machine: str,
    because: WhyDeactivated,
    now: datetime,
) -> MachineDeactivated:
    return MachineDeactivated(
        license_id=license_id,
        activation_id=license.machines[machine].activation_id,
        machine=machine,
        because=because,
        deactivated_at=now,
    )


class NoteMachineSeen(Command):
    """Write down that a machine has shown itself."""

    license_id: str
    activation_id: str


@decides(NoteMachineSeen, licenses)
def note_seen(wish: NoteMachineSeen, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """Only what is news is written down, or the log would grow with every beat of every heart."""
    dead_at = license.dead_at(now)
    for each in license.machines.values():
        if each.activation_id == wish.activation_id and dead_at is not None and license.is_news(each, now):
            return [
                MachineSeen(license_id=wish.license_id, activation_id=wish.activation_id, seen_at=now, dead_at=dead_at)
            ]
    return []


class ReleaseDeadMachines(Command):
    """Take a licence from the machines that have not shown themselves in time."""

    license_id: str


@decides(ReleaseDeadMachines, licenses)
def release_dead(wish: ReleaseDeadMachines, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """Whoever has shown themselves since has nothing to fear."""
    return [_deactivated(wish.license_id, license, machine, "dead", now) for machine in license.dead(now)]


class RecogniseMachine(Command):
    """Write down that a machine that asks has other components than before, as few as make it the same machine."""

    license_id: str
    machine: str
    fingerprints: tuple[str, ...]
    churn_max: int


@decides(RecogniseMachine, licenses)
def recognise(wish: RecogniseMachine, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """Only what has changed is written down, and no more often than seats may be taken."""
    found = license.find(wish.machine, wish.fingerprints)
    if found is None or not found[1].differs(found[0], wish.machine, wish.fingerprints):
        return []
    if len(license.activations_within_a_day(now)) >= license.max_activations + wish.churn_max:
        return []
    return [_recognised(wish.license_id, license, found[1], wish.machine, wish.fingerprints, now)]


def _recognised(
    license_id: str,
    license: License,  # noqa: A002 - the noun
    known: Machine,
    machine: str,
    fingerprints: tuple[str, ...],
    now: datetime,
) -> MachineRecognised:
    return MachineRecognised(
        license_id=license_id,
        activation_id=known.activation_id,
        machine=machine,
        fingerprints=fingerprints or known.fingerprints,
        recognised_at=now,
        dead_at=license.dead_at(now),
    )


class ForgetLicense(Command):
    """Let nobody know of a licence whose workspace is forgotten."""

    license_id: str
    workspace_id: str


@decides(ForgetLicense, licenses)
def forget(wish: ForgetLicense, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """What is forgotten is not forgotten again, nor what another workspace has under the same code since."""
    if license.workspace_id != wish.workspace_id:
        return []
    return [LicenseForgotten(license_id=wish.license_id, forgotten_at=now)]


class ExpireLicense(Command):
    """Write down that its time is over, for those who want to be told."""

    license_id: str


@decides(ExpireLicense, licenses)
def expire(wish: ExpireLicense, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """Each end once; one that was put off meanwhile is none, nor that of a licence that has become another."""
    end = license.ends_at
    if end is None or not license.has_ended(now) or license.expired_at == end or license.transferred_to is not None:
        return []
    return [LicenseExpired(license_id=wish.license_id, expired_at=end)]


class RevokeLicense(Command):
    """Let nobody use a licence until it is reinstated."""

    license_id: str
    workspace_id: str
    reason: str = ""


@decides(RevokeLicense, licenses)
def revoke(wish: RevokeLicense, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """What is revoked stays revoked; the machines stay known, for the day it is reinstated."""
    _belongs_to(license, wish.workspace_id)
    if license.revoked:
        return []
    return [
        LicenseRevoked(license_id=wish.license_id, workspace_id=wish.workspace_id, revoked_at=now, reason=wish.reason)
    ]


class ReinstateLicense(Command):
    """Let a licence be used again."""

    license_id: str
    workspace_id: str


@decides(ReinstateLicense, licenses)
def reinstate(wish: ReinstateLicense, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """What somebody else has under another code does not come back."""
    _belongs_to(license, wish.workspace_id)
    if license.transferred_to is not None:
        raise LicenseWasTransferred
    if not license.revoked:
        return []
    return [LicenseReinstated(license_id=wish.license_id, reinstated_at=now)]


class TransferLicense(Command):
    """Give a licence to somebody else, under a new code; without notes those of the old one go with it."""

    license_id: str
    workspace_id: str
    to_license_id: str
    to_code: str
    notes: str | None = None


@handles(TransferLicense)
async def transfer(wish: TransferLicense, transaction: Transaction) -> None:
    """The old code is good for nothing from that moment, and its machines have no seat under the new one."""
    old = await transaction.load(licenses, wish.license_id)
    _belongs_to(old, wish.workspace_id)
    if old.transferred_to == wish.to_license_id:
        return
    if old.transferred_to is not None:
        raise LicenseWasTransferred
    if old.revoked:
        raise CodeRevoked
    if (await transaction.find(licenses, wish.to_license_id)).workspace_id:
        raise CodeTaken(code=wish.to_code)
    now = transaction.now
    left = [_deactivated(wish.license_id, old, machine, "transferred", now) for machine in old.machines]
    transaction.record(
        licenses,
        wish.license_id,
        *left,
        LicenseTransferred(license_id=wish.license_id, to_license_id=wish.to_license_id, transferred_at=now),
    )
    transaction.record(
        licenses,
        wish.to_license_id,
        LicenseIssued(
            license_id=wish.to_license_id,
            workspace_id=old.workspace_id,
            project_id=old.project_id,
            code=wish.to_code,
            key_type=old.key_type,
            max_activations=old.max_activations,
            issued_at=now,
            notes=old.notes if wish.notes is None else wish.notes,
            # The time of a trial goes on, or could be had again by passing it round.
            expires_at=old.ends_at,
            trial_days=old.trial_days if old.trial_ends_at is None else None,
            entitlements=old.entitlements,
            updates_until=old.updates_until,
            heartbeat_seconds=old.heartbeat_seconds,
            transferred_from=wish.license_id,
        ),
    )


class SetLicenseTerms(Command):
    """Change what is given of what a licence allows; what is left out stays as it is, and null takes a limit away."""

    license_id: str
    workspace_id: str
    max_activations: int | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET
    entitlements: tuple[str, ...] | UnsetType = UNSET
    updates_until: datetime | UnsetType | None = UNSET
    heartbeat_seconds: int | UnsetType | None = UNSET
    notes: str | UnsetType = UNSET


@decides(SetLicenseTerms, licenses)
def set_terms(wish: SetLicenseTerms, license: License, now: datetime) -> list[Event]:  # noqa: A002 - the noun
    """Who is active stays so, also on more machines than are allowed from now on."""
    _belongs_to(license, wish.workspace_id)
    before = {name: getattr(license, name) for name in _TERMS}
    after = {name: old if (new := getattr(wish, name)) is UNSET else new for name, old in before.items()}
    if after == before:
        return []
    return [LicenseTermsSet(license_id=wish.license_id, workspace_id=license.workspace_id, set_at=now, **after)]


_TERMS = ("max_activations", "expires_at", "entitlements", "updates_until", "heartbeat_seconds", "notes")


def _belongs_to(license: License, workspace_id: str) -> None:  # noqa: A002 - the noun
    if license.workspace_id != workspace_id:
        raise CodeNotFound
