"""What other systems are told of licenses: what became of a code, to endpoints that choose it.

Optional, all of them: how many there are follows from what customers do. A project's own `webhook_url` is told of its
builds only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from domain.kernel import Event, Value
from domain.licensing.licenses import (
    KeyType,
    LicenseExpired,
    LicenseIssued,
    LicenseReinstated,
    LicenseRevoked,
    LicenseTransferred,
    MachineActivated,
    MachineDeactivated,
    TrialStarted,
    WhyDeactivated,
)
from domain.webhooks.messages import Subject, message
from projections.licensing.licenses import license_documents


class LicenseTold(Value):
    """A license as of what has happened; `activation_id`, `machine_name` and `reason` where that was on a machine."""

    code: str
    project_id: str
    key_type: KeyType
    max_activations: int
    current_activations: int
    is_revoked: bool
    expires_at: str | None
    trial_ends_at: str | None
    activation_id: str | None = None
    machine_name: str | None = None
    reason: WhyDeactivated | None = None


def told(subject: Subject, events: Sequence[Event]) -> LicenseTold:
    """The license as of the last of these events."""
    license = license_documents.fold(subject.id, events)  # noqa: A001 - the noun
    assert license is not None
    last = events[-1]
    on_machine = last if isinstance(last, MachineActivated | MachineDeactivated) else None
    return LicenseTold(
        code=license.code,
        project_id=license.project_id,
        key_type=license.key_type,
        max_activations=license.max_activations,
        current_activations=license.current_activations,
        is_revoked=license.is_revoked,
        expires_at=license.expires_at,
        trial_ends_at=license.trial_ends_at,
        activation_id=None if on_machine is None else on_machine.activation_id,
        machine_name=None if on_machine is None else _name(on_machine.activation_id, events),
        reason=last.because if isinstance(last, MachineDeactivated) else None,
    )


def _name(activation_id: str, events: Sequence[Event]) -> str | None:
    named = (each.name for each in events if isinstance(each, MachineActivated) and each.activation_id == activation_id)
    return next(named, None) or None


_ID, _WORKSPACE = "8f14e45fceea167a5a36dedd4bea2543", "5f3c1f3e-8a55-4d9b-9b40-0d0f6a1c2d3e"
_ACTIVATION = "0b9e9a5e-6f4c-4f0e-8d0c-3f1c7a1f5b1e"
_NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_ISSUED = LicenseIssued(
    license_id=_ID,
    workspace_id=_WORKSPACE,
    project_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
    code="3f0c5f6e-52c4-4b8e-9d33-0a6a1c1d9e55",
    key_type="trial",
    max_activations=2,
    issued_at=_NOON,
    trial_days=14,
)
_ACTIVATED = MachineActivated(
    license_id=_ID,
    workspace_id=_WORKSPACE,
    activation_id=_ACTIVATION,
    machine="9f86d081884c7d65",
    activated_at=_NOON,
    name="Studio Mac",
)
_TRIAL = TrialStarted(license_id=_ID, started_at=_NOON, ends_at=_NOON.replace(month=12, day=6))
_REVOKED = LicenseRevoked(license_id=_ID, workspace_id=_WORKSPACE, revoked_at=_NOON)


def _declare(name: str, says: str, at: str, *example: Any) -> None:
    message(
        f"license.{name}",
        says,
        on=type(example[-1]),
        at=at,
        body=told,
        schema=LicenseTold,
        example=(_ISSUED, *example),
        optional=True,
    )


message(
    "license.issued",
    "There is a new code.",
    on=LicenseIssued,
    at="issued_at",
    body=told,
    schema=LicenseTold,
    example=(_ISSUED,),
    optional=True,
)
_declare("activated", "A license is used on a machine.", "activated_at", _ACTIVATED)
_declare("trial_started", "A trial was activated for the first time.", "started_at", _ACTIVATED, _TRIAL)
_declare(
    "deactivated",
    "A license is not used on a machine any more, and why: asked, released, dead or transferred.",
    "deactivated_at",
    _ACTIVATED,
    MachineDeactivated(
        license_id=_ID,
        activation_id=_ACTIVATION,
        machine=_ACTIVATED.machine,
        because="released",
        deactivated_at=_NOON,
    ),
)
_declare("revoked", "A license is good for nothing until it is reinstated.", "revoked_at", _REVOKED)
_declare(
    "reinstated",
    "A license is good again.",
    "reinstated_at",
    _REVOKED,
    LicenseReinstated(license_id=_ID, reinstated_at=_NOON),
)
_declare(
    "transferred",
    "A license belongs to somebody else, under another code.",
    "transferred_at",
    LicenseTransferred(license_id=_ID, to_license_id="9" * 32, transferred_at=_NOON),
)
_declare(
    "expired",
    "The time of a license, or of a trial, is over.",
    "expired_at",
    _ACTIVATED,
    _TRIAL,
    LicenseExpired(license_id=_ID, expired_at=_TRIAL.ends_at),
)
