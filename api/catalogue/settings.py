"""Settings of the catalogue's surface."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Count, Section, says


class CatalogueRates(Section, frozen=True):
    """How often the catalogue may be asked."""

    catalogue_reads_per_minute: Annotated[Count, says("Reads of the catalogue by one key in 60 seconds")] = 300
    catalogue_writes_per_minute: Annotated[Count, says("Changes to the catalogue by one key in 60 seconds")] = 60
