"""One ordinary example of every command of licensing."""

from __future__ import annotations

from commands.licensing.licenses import (
    ActivateMachine,
    DeactivateMachine,
    ExpireLicense,
    ForgetLicense,
    IssueLicenses,
    NewLicense,
    NoteMachineSeen,
    RecogniseMachine,
    ReinstateLicense,
    ReleaseDeadMachines,
    ReleaseMachine,
    RevokeLicense,
    SetLicenseTerms,
    TransferLicense,
)
from commands.licensing.signing_keys import RotateSigningKey
from tests.examples import Example
from tests.spec import NOW
from tests.studio.examples import project

CODE = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
issued = IssueLicenses(
    batch_id="batch-1",
    workspace_id="w1",
    project_id="project-1",
    items=(NewLicense(license_id="license-1", code=CODE, notes="Beta tester"),),
)
activated = ActivateMachine(license_id="license-1", activation_id="activation-1", machine="m1", churn_max=20)
before = [project, issued]

# Of a time that has passed before anybody asks: the examples know only one moment.
watched = IssueLicenses(
    batch_id="batch-2",
    workspace_id="w1",
    project_id="project-1",
    items=(NewLicense(license_id="license-1", code=CODE, heartbeat_seconds=0),),
)
revoked = RevokeLicense(license_id="license-1", workspace_id="w1", reason="Refunded")

EXAMPLES = (
    Example(
        NoteMachineSeen(license_id="license-1", activation_id="activation-1"),
        [project, watched, activated],
        repeats="with no time at all between two beats each of them is news",
    ),
    Example(ReleaseDeadMachines(license_id="license-1"), [project, watched, activated]),
    Example(
        RecogniseMachine(license_id="license-1", machine="m1", fingerprints=("a", "b", "c"), churn_max=20),
        [*before, activated],
    ),
    Example(
        ExpireLicense(license_id="license-1"),
        [*before, SetLicenseTerms(license_id="license-1", workspace_id="w1", expires_at=NOW)],
    ),
    Example(ForgetLicense(license_id="license-1", workspace_id="w1"), before),
    Example(revoked, before),
    Example(ReinstateLicense(license_id="license-1", workspace_id="w1"), [*before, revoked]),
    Example(
        TransferLicense(license_id="license-1", workspace_id="w1", to_license_id="license-2", to_code="AAAA"),
        [*before, activated],
    ),
    Example(SetLicenseTerms(license_id="license-1", workspace_id="w1", max_activations=5, expires_at=NOW), before),
    Example(RotateSigningKey(project_id="project-1", workspace_id="w1", number=2), [project]),
    Example(issued, [project]),
    Example(activated, before),
    Example(DeactivateMachine(license_id="license-1", machine="m1"), [*before, activated]),
    Example(ReleaseMachine(license_id="license-1", activation_id="activation-1"), [*before, activated]),
)
