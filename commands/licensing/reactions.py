"""What follows when a machine does not show itself, when a license has ended, and when a workspace is forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import reacts_to
from commands.licensing.licenses import ExpireLicense, ForgetLicense, ReleaseDeadMachines
from commands.licensing.ports import Ports
from domain.identity.workspaces import WorkspaceForgotten
from domain.ledger import Recorded
from domain.licensing.licenses import (
    LicenseIssued,
    LicenseTermsSet,
    MachineActivated,
    MachineRecognised,
    MachineSeen,
    TrialStarted,
    licenses,
)

Watched = MachineActivated | MachineRecognised | MachineSeen | LicenseTermsSet


def _due(event: Watched) -> datetime | None:
    if isinstance(event, LicenseTermsSet):
        assert event.heartbeat_seconds is not None
        return event.set_at + timedelta(seconds=event.heartbeat_seconds * 1.25)
    return event.dead_at


def _is_watched(event: Watched) -> bool:
    return event.heartbeat_seconds is not None if isinstance(event, LicenseTermsSet) else event.dead_at is not None


@reacts_to(
    MachineActivated,
    MachineRecognised,
    MachineSeen,
    LicenseTermsSet,
    name="release-dead-machines",
    due=_due,
    only=_is_watched,
)
async def release_dead_machines(recorded: Recorded, ports: Ports) -> None:
    """Each sign of life sets a clock of its own; the last of them finds whoever has given none since."""
    event = recorded.event
    assert isinstance(event, (MachineActivated, MachineRecognised, MachineSeen, LicenseTermsSet))
    await ports.execute(ReleaseDeadMachines(license_id=event.license_id), recorded.context())


def _ends_at(event: LicenseIssued | LicenseTermsSet | TrialStarted) -> datetime | None:
    return event.ends_at if isinstance(event, TrialStarted) else event.expires_at


@reacts_to(
    LicenseIssued,
    LicenseTermsSet,
    TrialStarted,
    name="expire-license",
    due=_ends_at,
    only=lambda event: _ends_at(event) is not None,
)
async def expire_license(recorded: Recorded, ports: Ports) -> None:
    """Nothing depends on it but messages: whoever asks about a code is told by the clock."""
    event = recorded.event
    assert isinstance(event, LicenseIssued | LicenseTermsSet | TrialStarted)
    await ports.execute(ExpireLicense(license_id=event.license_id), recorded.context())


@reacts_to(WorkspaceForgotten, name="forget-licenses")
async def forget_licenses(recorded: Recorded, ports: Ports) -> None:
    """The codes of a workspace that is forgotten are codes no longer."""
    event = recorded.event
    assert isinstance(event, WorkspaceForgotten)
    for license_id in await ports.log.begun(licenses, {event.workspace_id}):
        wish = ForgetLicense(license_id=license_id, workspace_id=event.workspace_id)
        await ports.execute(wish, recorded.context())
