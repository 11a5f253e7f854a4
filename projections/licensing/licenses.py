"""A licence as its project's people see it, and each machine that one is activated on."""

from __future__ import annotations

from msgspec.structs import replace

from domain.kernel import Event
from domain.licensing.licenses import (
    CodeNotFound,
    KeyType,
    LicenseIssued,
    LicenseReinstated,
    LicenseRevoked,
    LicenseTermsSet,
    LicenseTransferred,
    MachineActivated,
    MachineDeactivated,
    MachineRecognised,
    NotActivated,
    TrialStarted,
)
from projections.kernel import Document, Projection, projection, seconds


class LicenseDocument(Document):
    """One code, what it allows, and on how many machines it is active."""

    code: str
    key_type: KeyType
    max_activations: int
    current_activations: int
    is_revoked: bool
    notes: str
    created_at: str
    project_id: str
    expires_at: str | None = None
    trial_days: int | None = None
    trial_ends_at: str | None = None
    entitlements: tuple[str, ...] = ()
    updates_until: str | None = None
    heartbeat_seconds: int | None = None
    last_activated_at: str | None = None


def evolve(license: LicenseDocument | None, event: Event) -> LicenseDocument | None:  # noqa: A002, PLR0911
    """The licence after one more event."""
    match license, event:
        case None, LicenseIssued():
            return LicenseDocument(
                code=event.code,
                key_type=event.key_type,
                max_activations=event.max_activations,
                current_activations=0,
                is_revoked=False,
                notes=event.notes,
                created_at=seconds(event.issued_at),
                project_id=event.project_id,
                expires_at=None if event.expires_at is None else seconds(event.expires_at),
                trial_days=event.trial_days,
                entitlements=event.entitlements,
                updates_until=None if event.updates_until is None else seconds(event.updates_until),
                heartbeat_seconds=event.heartbeat_seconds,
            )
        case LicenseDocument(), MachineActivated():
            return replace(
                license,
                current_activations=license.current_activations + 1,
                last_activated_at=seconds(event.activated_at),
            )
        case LicenseDocument(), MachineDeactivated():
            return replace(license, current_activations=license.current_activations - 1)
        case LicenseDocument(), TrialStarted():
            return replace(license, trial_ends_at=seconds(event.ends_at))
        case LicenseDocument(), LicenseRevoked() | LicenseTransferred():
            return replace(license, is_revoked=True)
        case LicenseDocument(), LicenseReinstated():
            return replace(license, is_revoked=False)
        case LicenseDocument(), LicenseTermsSet():
            return replace(
                license,
                max_activations=event.max_activations,
                notes=event.notes,
                expires_at=None if event.expires_at is None else seconds(event.expires_at),
                entitlements=event.entitlements,
                updates_until=None if event.updates_until is None else seconds(event.updates_until),
                heartbeat_seconds=event.heartbeat_seconds,
            )
    return license


license_documents: Projection[LicenseDocument] = projection(
    "licenses",
    LicenseDocument,
    on={
        LicenseIssued: "license_id",
        MachineActivated: "license_id",
        MachineDeactivated: "license_id",
        TrialStarted: "license_id",
        LicenseRevoked: "license_id",
        LicenseReinstated: "license_id",
        LicenseTransferred: "license_id",
        LicenseTermsSet: "license_id",
    },
    evolve=evolve,
    begins=(LicenseIssued,),
    absent=CodeNotFound,
    parent=lambda document: document.project_id,
    stream="license",
)


class ActivationDocument(Document):
    """A licence on one machine, which is known by the beginning of a digest and by the name it gave itself."""

    id: str
    license_id: str
    machine: str
    name: str
    activated_at: str
    recognised_at: str | None = None


def evolve_activation(activation: ActivationDocument | None, event: Event) -> ActivationDocument | None:
    """The activation after one more event; when it is over it is gone."""
    match activation, event:
        case None, MachineActivated():
            return ActivationDocument(
                id=event.activation_id,
                license_id=event.license_id,
                machine=event.machine,
                name=event.name,
                activated_at=seconds(event.activated_at),
            )
        case ActivationDocument(), MachineRecognised():
            return replace(activation, machine=event.machine, recognised_at=seconds(event.recognised_at))
        case _, MachineDeactivated():
            return None
    return activation


activation_documents: Projection[ActivationDocument] = projection(
    "activations",
    ActivationDocument,
    on={
        MachineActivated: "activation_id",
        MachineRecognised: "activation_id",
        MachineDeactivated: "activation_id",
    },
    evolve=evolve_activation,
    begins=(MachineActivated,),
    absent=NotActivated,
    parent=lambda document: document.license_id,
)
