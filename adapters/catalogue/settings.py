"""Settings of sealed cookies."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Annotated

from domain.sections import Secret, Section, says, variable

KEY_BYTES = 32


class Cookies(Section, frozen=True):
    """How cookies of browser profiles are sealed."""

    browser_profile_keys: Annotated[
        Secret,
        says(
            "Master keys for cookies, `name:base64 of 32 bytes`, the newest first, with commas; empty turns the import "
            "of browser profiles off. An old key stays until `ledgerline rewrap-profiles` has run"
        ),
    ] = Secret("")

    def keys(self) -> dict[str, bytes]:
        """The master keys by their names, the newest first; raises ValueError for what is none."""
        found = {}
        for each in filter(None, (part.strip() for part in self.browser_profile_keys.reveal().split(","))):
            name, _, text = each.partition(":")
            key = base64.b64decode(text, validate=True)
            if not re.fullmatch(r"[\w.-]{1,64}", name) or len(key) != KEY_BYTES or name in found:
                raise ValueError(name)
            found[name] = key
        return found

    def problems(self) -> Iterator[str]:
        """Keys that are none."""
        try:
            self.keys()
        except (ValueError, binascii.Error):
            yield f"{variable('browser_profile_keys')} has keys as name:base64, each of {KEY_BYTES} bytes."
