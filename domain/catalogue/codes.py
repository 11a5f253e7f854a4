"""What recordings and releases are known by all over the world: ISRC and UPC, as text, in one normal form."""

from __future__ import annotations

import re

from domain.kernel import Invalid

#: Prefixes such as QM and QZ are no countries, and once it is given an ISRC means nothing: only its form counts.
_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")
_DIGITS = re.compile(r"[0-9]{12,13}")
#: How people set codes apart; not every dash is a hyphen.
_BETWEEN = re.compile(r"[\s\-\u2010-\u2015]+")


class BadIsrc(Invalid):
    """An ISRC has twelve characters: two letters, three letters or digits, seven digits, as in USXXX1234567."""


class BadUpc(Invalid):
    """A UPC has 12 digits and an EAN 13, the last of which is a check digit; {upc} is neither."""


def isrc(text: str) -> str:
    """The normal form of an ISRC (IFPI handbook): capitals, without `ISRC`, spaces and hyphens; raises BadIsrc."""
    found = find_isrc(text)
    if found is None:
        raise BadIsrc(loc=("body", "isrc"))
    return found


def find_isrc(text: str) -> str | None:
    """The normal form of an ISRC; None when the text is none."""
    plain = _BETWEEN.sub("", text[:64]).upper()
    if len(plain) > 12:
        plain = plain.removeprefix("ISRC").removeprefix(":")
    return plain if _ISRC.fullmatch(plain) else None


def upc(text: str) -> str:
    """A UPC-12 or EAN-13 as its digits, as many as were given; raises BadUpc when the check digit is another."""
    plain = _BETWEEN.sub("", text[:64])
    if not _DIGITS.fullmatch(plain) or check_digit(plain[:-1]) != plain[-1]:
        raise BadUpc(upc=repr(text[:32]), loc=("body", "upc"))
    return plain


def check_digit(digits: str) -> str:
    """The GTIN check digit (GS1, modulo 10) after these: weights 3 and 1 in turn, from the right."""
    total = sum(int(each) * (3 if place % 2 == 0 else 1) for place, each in enumerate(reversed(digits)))
    return str(-total % 10)
