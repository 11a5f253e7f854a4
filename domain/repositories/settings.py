"""Settings of where sources may be."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Section, says


class Repositories(Section, frozen=True):
    """Repositories of plug-ins."""

    build_local_root: Annotated[
        str, says("In development, folder below which projects may link local git repositories; none by default")
    ] = ""
