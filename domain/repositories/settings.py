"""Settings of where sources may be."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Section, says


class Repositories(Section, frozen=True):
    """Repositories of plug-ins."""

    build_local_roots: Annotated[
        tuple[str, ...],
        says(
            "In development, folders below which projects may link local git repositories, with commas; `up` sets the "
            "home and the temporary folder"
        ),
    ] = ()
