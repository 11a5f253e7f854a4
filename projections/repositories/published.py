"""What is published of repositories."""

from __future__ import annotations

from domain.published import published
from domain.repositories.connections import (
    GithubConnected,
    GithubDisconnected,
)
from domain.repositories.repositories import (
    RepositoryLinked,
    RepositoryUnlinked,
)

PUBLISHED = (
    published(GithubConnected),
    published(GithubDisconnected),
    published(RepositoryLinked),
    published(RepositoryUnlinked),
)
