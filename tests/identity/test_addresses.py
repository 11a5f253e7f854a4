"""One normal form of an address."""

from __future__ import annotations

from unicodedata import category, normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity.addresses import NotAnAddress, is_letter, local_part, normal, unicode_label

CODE_POINTS = [chr(number) for number in range(0x110000)]


def test_no_code_point_before_the_at_is_taken_for_another() -> None:
    """Of letters only ASCII's own, whose case no mail server keeps apart; nothing else becomes one of them."""
    forms = {letter: form for letter in CODE_POINTS if (form := local_part(f"s{letter}m")) is not None}
    assert all(letter.isascii() for letter in forms)
    assert forms == {letter: f"s{letter.lower()}m" for letter in forms}
    assert {*"abzABZ019._-+'"} <= forms.keys()
    assert not {*' \x00\x1f\x7f"(),:;<>@[\\]ſ\u212aé'} & forms.keys()
    for letter in map(chr, range(0x250)):
        assert in_an_address(f"s{letter}m", "example.com") == (
            f"{forms[letter]}@example.com" if letter in forms else None
        )


def in_an_address(local: str, domain: str) -> str | None:
    """The form of an address; None when it is refused."""
    try:
        return normal(f"{local}@{domain}")
    except NotAnAddress:
        return None


def is_plain(letter: str) -> bool:
    """Whether nothing makes another of a letter: neither folding nor composing, with whatever it stands."""
    folded = normalize("NFKC", normalize("NFKD", letter).casefold())
    return folded == letter == letter.lower() and category(letter)[0] != "M"


def test_no_code_point_in_a_domain_is_taken_for_another() -> None:
    """Two letters share a form where they differ in case or are canonically the same, and nowhere else."""
    letters = [*filter(is_letter, CODE_POINTS[0x80:])]
    # What is no letter is refused wherever it stands; of those each that is assigned is tried in an address as well.
    assigned = [each for each in CODE_POINTS[0x80:] if not is_letter(each) and category(each) not in ("Cn", "Co", "Cs")]
    assert len(assigned) > 7_000
    for each in (*assigned, "\u0378", "\ud800", "\ue000", "\U0010ffff"):
        assert in_an_address("sam", f"e{each}m.com") is None, hex(ord(each))
    # Most letters are plain: each of them stays what it is, in a name with its neighbours.
    plain = [each for each in letters if is_plain(each)]
    assert len(plain) > 100_000
    alone = {*letters, *CODE_POINTS[:0x80]} - {*plain}
    for first in range(0, len(plain), 100):
        some = "".join(plain[first : first + 100])
        if normalize("NFC", some) != some:  # of Hangul, syllables are composed
            alone |= {*some}
            continue
        assert unicode_label(f"e{some}m") == f"e{some}m"
    sharing: dict[str, set[str]] = {}
    for each in alone:
        form = in_an_address("sam", f"e{each}m.com")
        if form is not None:
            sharing.setdefault(form, set()).add(each)
    for form, same in sharing.items():
        assert form.isascii()
        assert normal(form) == form
        assert len({normalize("NFC", normalize("NFC", each).lower()) for each in same}) == 1, same
    taken = {*plain}.union(*sharing.values())
    assert {*"aZ0é日ß"} <= taken
    assert not {*" \x00\x1f\x7f_@ſａ。·\u00ad\u200d\ud800"} & taken
    assert normal("sam@straße.com") != normal("sam@strasse.com")


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("  Ada.Byron+Music@Example.COM\n", "ada.byron+music@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@BU\u0308CHER.example", "ada@xn--bcher-kva.example"),
        ("ada@XN--Bcher-KVA.example", "ada@xn--bcher-kva.example"),
        ("ada@ΟΔΟΣ.example", normal("ada@οδοσ.example")),
        ("ada@r3---sn.example", "ada@r3---sn.example"),
    ],
)
def test_whoever_writes_an_address_differently_means_the_same(written: str, form: str) -> None:
    assert normal(written) == form
    assert normal(form) == form


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("nobody", "one @"),
        ("a@b@example.com", "one @"),
        ("@example.com", "one @"),
        ("ada@", "one @"),
        ("a da@example.com", "Before its @"),
        ("a..da@example.com", "Before its @"),
        (".ada@example.com", "Before its @"),
        ("ad\ta@example.com", "Before its @"),
        ("ſam@example.com", "Before its @"),
        (f"{'a' * 65}@example.com", "at most 64"),
        (f"{'a' * 60}@{'b' * 60}.{'c' * 63}.{'d' * 63}.com.example", "at most 254"),
        (f"ada@{'ü' * 60}.{'ö' * 60}.{'ä' * 60}.com", "1 to 63"),
        (f"ada@{'b' * 64}.com", "1 to 63"),
        ("ada@example", "such as example.com"),
        ("ada@127.0.0.1", "such as example.com"),
        ("ada@[127.0.0.1]", "such as example.com"),
        ("ada@example.com.", "such as example.com"),
        ("ada@-example.com", "such as example.com"),
        ("ada@exam\x00ple.com", "such as example.com"),
        ("ada@xn--example.com", "such as example.com"),
        ("ada@xn--a-b.com", "such as example.com"),
        ("ada@xn--zzzzzzzzzzzz.com", "such as example.com"),
    ],
)
def test_what_no_letter_could_be_sent_to_is_refused_with_a_sentence(written: str, said: str) -> None:
    with pytest.raises(NotAnAddress) as refusal:
        normal(written)
    assert said in refusal.value.sentence


@given(st.text(max_size=12), st.text(max_size=12))
def test_a_form_is_its_own_form(local: str, domain: str) -> None:
    try:
        form = normal(f"{local}@{domain}.com")
    except NotAnAddress:
        return
    assert normal(form) == form
    assert form.isascii()
