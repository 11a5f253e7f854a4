"""E-mail addresses in one normal form, by which they are compared, digested, kept and written to.

The form is ASCII: what two addresses share here, they share for every mail server and every name server.
"""

from __future__ import annotations

import re
from unicodedata import category, normalize

from domain.kernel import Invalid

#: Without its brackets and its CRLF, a path in SMTP has so many characters (RFC 5321, 4.5.3.1).
LENGTH_MAX = 254
LOCAL_LENGTH_MAX = 64
LABEL_LENGTH_MAX = 63

#: A dot-atom (RFC 5322, 3.2.3). Quoted names, and those of RFC 6531, are too rare to be worth what they make possible.
_LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_ASCII_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_PREFIX = "xn--"
#: Letters, marks and digits, by their general categories.
_LETTERS = frozenset({"Lu", "Lt", "Ll", "Lo", "Lm", "Mn", "Mc", "Nd"})
#: Letters of their own in names since IDNA2008 (RFC 5894, 7.2), whatever case folding makes of them.
_DEVIATIONS = frozenset("ßς")

_NO_DOMAIN = (
    "After its @, an e-mail address has a domain such as example.com: words of letters, digits and hyphens, each of 1 "
    f"to {LABEL_LENGTH_MAX} characters, with dots between them."
)
_NO_LOCAL = (
    "Before its @, an e-mail address has letters from a to z, digits, and signs such as . + - _ (no spaces, and no "
    "dots side by side or at an end)."
)


class NotAnAddress(Invalid):
    """{problem}"""


def normal(text: str, *, whole: bool = True) -> str:
    """The one way to write an address: spaces around it gone, ASCII letters small, its domain in ASCII (RFC 5891).

    Raises NotAnAddress for what no letter of ours could be sent to. `whole=False` also takes a domain of one word,
    such as `localhost`, which only the operator's own mail server knows.
    """
    text = text.strip(" \t\r\n")
    if len(text) > LENGTH_MAX:
        raise NotAnAddress(problem=f"An e-mail address has at most {LENGTH_MAX} characters.")
    local, at, domain = text.partition("@")
    if not local or not at or not domain or "@" in domain:
        raise NotAnAddress(problem="An e-mail address has one @, as in name@example.com.")
    name = local_part(local)
    if name is None:
        raise NotAnAddress(problem=_NO_LOCAL)
    if len(name) > LOCAL_LENGTH_MAX:
        raise NotAnAddress(problem=f"Before its @, an e-mail address has at most {LOCAL_LENGTH_MAX} characters.")
    labels = [_label(each) for each in domain.split(".")]
    if whole and (len(labels) < 2 or labels[-1].isdigit()):
        raise NotAnAddress(problem="After its @, an e-mail address has a domain such as example.com.")
    found = f"{name}@{'.'.join(labels)}"
    if len(found) > LENGTH_MAX:
        raise NotAnAddress(problem=f"An e-mail address has at most {LENGTH_MAX} characters, its domain in ASCII.")
    return found


def local_part(text: str) -> str | None:
    """What stands before the @, in small letters; None when it cannot."""
    # Before anything is folded: outside ASCII there are letters that become others, as the long s does.
    return text.lower() if text.isascii() and _LOCAL.fullmatch(text.lower()) else None


def is_letter(character: str) -> bool:
    """Whether a character outside ASCII may be in a name at all: a letter, a mark or a digit."""
    return category(character) in _LETTERS


def _label(text: str) -> str:
    """A word of a domain, in small ASCII letters."""
    if not text.isascii():
        found = _a_label(unicode_label(text))
    elif (found := text.lower()).startswith(_PREFIX):
        # The same word may come in either spelling; one that no word is spelt like is nobody's.
        try:
            word = found[len(_PREFIX) :].encode().decode("punycode")
        except UnicodeError:
            raise NotAnAddress(problem=_NO_DOMAIN) from None
        if word.isascii() or unicode_label(word) != word or _a_label(word) != found:
            raise NotAnAddress(problem=_NO_DOMAIN)
    if len(found) > LABEL_LENGTH_MAX or not _ASCII_LABEL.fullmatch(found):
        raise NotAnAddress(problem=_NO_DOMAIN)
    return found


def _a_label(word: str) -> str:
    """What name servers know a word by (RFC 3492); ASCII stays as it is."""
    return word if word.isascii() else _PREFIX + word.encode("punycode").decode()


def unicode_label(text: str) -> str:
    """A word of a domain that is not ASCII, in NFC and small letters.

    Stricter than UTS 46: what would become something else by more than its case or its composition is refused, so
    that no two names that are registered apart come to be one.
    """
    if not all(is_letter(each) for each in text if not each.isascii()):
        raise NotAnAddress(problem=_NO_DOMAIN)
    small = normalize("NFC", "".join(letter.lower() for letter in normalize("NFC", text)))
    if small.isascii():
        return small
    for letter in small:
        if not letter.isascii() and letter not in _DEVIATIONS and normalize("NFKC", letter.casefold()) != letter:
            raise NotAnAddress(problem=_NO_DOMAIN)
    # What the capital of ß stands for has changed between versions of UTS 46.
    if "ẞ" in text or category(small[0]).startswith("M") or small[2:4] == "--" or "-" in (small[0], small[-1]):
        raise NotAnAddress(problem=_NO_DOMAIN)
    return small
