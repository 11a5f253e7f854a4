"""Settings of imports."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Count, Section, says


class Imports(Section, frozen=True):
    """What may be imported."""

    import_bytes_max: Annotated[Count, says("The largest report that is taken in, packed or not")] = 256 * 1024 * 1024
    import_at_once_bytes_max: Annotated[
        Count, says("The largest file of daily plays that is read while its sender waits")
    ] = 16 * 1024 * 1024
