"""What is published of builds."""

from __future__ import annotations

from domain.builds.builds import (
    BuildAsked,
    BuildCancelled,
    BuildCompleted,
    BuildFailed,
    BuildQueued,
    BuildStarted,
    BuildStored,
    BuildSucceeded,
    BuildVersioned,
)
from domain.builds.runners import (
    RunnerRegistered,
    RunnerRemoved,
)
from domain.builds.secrets import (
    SecretRemoved,
    SecretSet,
)
from domain.published import published

PUBLISHED = (
    published(BuildAsked, version=2),
    published(BuildQueued),
    published(BuildStarted),
    published(BuildVersioned),
    published(BuildStored),
    published(BuildCompleted),
    published(BuildSucceeded),
    published(BuildFailed),
    published(BuildCancelled),
    published(RunnerRegistered),
    published(RunnerRemoved),
    published(SecretSet, hidden=("secret_id", "replaces")),
    published(SecretRemoved, hidden=("secret_id",)),
)
