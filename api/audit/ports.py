"""What the audit needs."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.identity.origins import Origins
from adapters.readmodels.audit import Audit
from adapters.readmodels.settings import Reading
from adapters.readmodels.subscriptions import Subscriptions


@dataclass(frozen=True)
class Ports:
    """What happened, and where it was asked for."""

    audit: Audit
    origins: Origins
    subscriptions: Subscriptions
    settings: Reading
