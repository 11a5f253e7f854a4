"""Settings of the database."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Count, Section, Url, says


class Postgres(Section, frozen=True):
    """The database that holds the log and the read models."""

    postgres_url: Annotated[
        Url,
        says(
            "`postgresql://...`; empty makes `up` start its own PostgreSQL",
            needed=True,
            schemes=("postgresql", "postgres"),
        ),
    ] = Url("")
    postgres_connections_max: Annotated[Count, says("Connections of one process")] = 10
