"""Which version a build is: what its source says, or else the next one after the last.

The tag of the commit comes first, then the file VERSION, then the last version of the project and the kind of release.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from domain.studio.projects import ReleaseType

#: Semantic Versioning 2.0.0, as far as it is needed here.
_VERSION = re.compile(r"[vV]?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?(?:-([0-9A-Za-z.-]{1,64}))?(?:\+[0-9A-Za-z.-]{1,64})?")
_DEV = re.compile(r"dev\.(\d{1,9})")

Number = tuple[int, int, int, str]


def read(text: str) -> Number | None:
    """Major, minor, patch and what follows the dash; None when it is no version."""
    found = _VERSION.fullmatch(text.strip())
    return (int(found[1]), int(found[2]), int(found[3] or 0), found[4] or "") if found else None


def write(number: Number) -> str:
    """A version as it is shown."""
    major, minor, patch, rest = number
    return f"{major}.{minor}.{patch}" + (f"-{rest}" if rest else "")


def following(last: str, release_type: ReleaseType) -> str:
    """The version after the last one; `last` is empty for the first.

    `dev` counts builds of what the next patch will be, and `release` makes of the last one what it was a dev build of.
    """
    major, minor, patch, rest = read(last) or (0, 0, 0, "")
    if release_type == "major":
        return f"{major + 1}.0.0"
    if release_type == "minor":
        return f"{major}.{minor + 1}.0"
    if release_type == "release" and last:
        return f"{major}.{minor}.{patch}"
    patch = patch if rest else patch + 1
    if release_type == "dev":
        counted = _DEV.fullmatch(rest)
        return f"{major}.{minor}.{patch}-dev.{int(counted[1]) + 1 if counted else 1}"
    return f"{major}.{minor}.{patch}"


def of_source(
    tags: Sequence[str], version_file: str | None, release_type: ReleaseType, build_number: int
) -> str | None:
    """The version that the source of a build names, the highest where several tags do; None where nothing does.

    A dev build of a version that only the file names says that it is one.
    """
    tagged = sorted(filter(None, map(read, tags)), key=lambda each: (each[:3], not each[3], each[3]))
    if tagged:
        return write(tagged[-1])
    written = read(version_file or "")
    if written is None:
        return None
    if release_type == "dev" and not written[3]:
        return f"{write(written)}-dev.{build_number}"
    return write(written)
