"""What is published of licensing."""

from __future__ import annotations

from domain.licensing.licenses import (
    LicenseExpired,
    LicenseIssued,
    LicenseReinstated,
    LicenseRevoked,
    LicenseTermsSet,
    LicenseTransferred,
    MachineActivated,
    MachineDeactivated,
    TrialStarted,
)
from domain.licensing.signing_keys import (
    SigningKeyRotated,
)
from domain.published import published

PUBLISHED = (
    published(LicenseIssued),
    published(LicenseTermsSet),
    published(LicenseRevoked),
    published(LicenseReinstated),
    published(LicenseTransferred),
    published(TrialStarted),
    published(LicenseExpired),
    published(MachineActivated, hidden=("fingerprints",)),
    published(MachineDeactivated),
    published(SigningKeyRotated),
)
