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


class Releases(Section, frozen=True):
    """What belongs to releases."""

    artwork_bytes_max: Annotated[Count, says("The largest front cover that is taken in")] = 20 * 1024 * 1024
    release_audio_bytes_max: Annotated[
        Count, says("The largest audio of one recording of a release that is taken in")
    ] = 512 * 1024 * 1024
    upload_session_hours: Annotated[
        Count, says("How many hours an upload session waits for the next report before it is over")
    ] = 24
    ern_namespace: Annotated[str, says("The XML namespace of DDEX messages; another version of ERN 4 has another")] = (
        "http://ddex.net/xml/ern/43"
    )
    ern_avs_version: Annotated[str, says("Which version of DDEX's allowed values its messages name")] = "6"
