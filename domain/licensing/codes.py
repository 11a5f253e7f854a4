"""What people and plug-ins type: activation codes, machine ids and fingerprints, each in one normal form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256

from domain.kernel import Invalid

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_LEGACY = re.compile(r"[A-Z0-9]{4}(?:-[A-Z0-9]{4}){3}", re.ASCII)

MACHINE_ID_LENGTH_MAX = 255
FINGERPRINTS_MAX = 10
#: Fewer components tell too little for one of them to differ.
FINGERPRINTS_MIN = 3

#: What programs and firmware say when they do not know on which machine they are.
_PLACEHOLDERS = frozenset(
    {
        "",
        "none",
        "null",
        "nil",
        "unknown",
        "undefined",
        "default",
        "default string",
        "not available",
        "not specified",
        "n/a",
        "to be filled by o.e.m.",
        "system serial number",
        "03000200-0400-0500-0006-000700080009",
    }
)


class InvalidCode(Invalid):
    """This is not an activation code. One has the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx or XXXX-XXXX-XXXX-XXXX."""


class InvalidMachineId(Invalid):
    """This does not tell one machine from another. Send 1 to 255 characters that belong to this machine alone."""


class InvalidFingerprints(Invalid):
    """Fingerprints are 3 to 10 texts, one for each component, always in the same order; leave out what is not known."""


def normal_code(text: str) -> str:
    """The one form of a code: a UUID in small letters, a legacy code in capitals. Raises InvalidCode."""
    text = text.strip()
    if _UUID.fullmatch(small := text.lower()):
        return small
    if _LEGACY.fullmatch(large := text.upper()):
        return large
    raise InvalidCode(loc=("body", "code"))


def is_placeholder(text: str) -> bool:
    """Whether this stands where an id should be: a word for nothing, nothing but zeros or Fs, or a digest of these."""
    plain = text.strip().lower()
    return plain in _PLACEHOLDERS or plain in _DIGESTS or _is_blank(plain)


def _is_blank(plain: str) -> bool:
    return _BLANK.fullmatch(plain) is not None


#: Zeros, or eight Fs and more, with whatever ids are written with between them.
_BLANK = re.compile(r"[-:{} 0]*|(?:[-:{} ]*f){8}[-:{} f]*")
#: Clients send digests, so a digest of a placeholder is one.
_DIGESTS = frozenset(
    sha256(form.encode()).hexdigest()
    for word in (*_PLACEHOLDERS, "0", "00000000-0000-0000-0000-000000000000")
    for form in {word, word.capitalize(), word.upper()}
)


def check_machine_id(text: str) -> str:
    """The id of a machine as it was sent; raises InvalidMachineId."""
    if len(text) > MACHINE_ID_LENGTH_MAX or "\0" in text or is_placeholder(text):
        raise InvalidMachineId(loc=("body", "machine_id"))
    return text


def check_fingerprints(texts: Sequence[str] | None) -> tuple[str, ...]:
    """The components of a machine; raises InvalidFingerprints."""
    if not texts:
        return ()
    fit = FINGERPRINTS_MIN <= len(texts) <= FINGERPRINTS_MAX
    if not fit or any(len(each) > MACHINE_ID_LENGTH_MAX or "\0" in each or is_placeholder(each) for each in texts):
        raise InvalidFingerprints(loc=("body", "fingerprints"))
    return tuple(texts)
