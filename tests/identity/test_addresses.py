"""One normal form of an address."""

from __future__ import annotations

from collections.abc import Iterator
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity.addresses import NotAnAddress, normal


def tried(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Every code point as a character at a place of an address, and the form of what is taken."""
    for number in range(0x110000):
        letter = chr(number)
        try:
            found = normal(f"{before}{letter}{after}")
        except NotAnAddress:
            continue
        yield letter, found


def test_no_code_point_before_the_at_is_taken_for_another() -> None:
    """Of letters only ASCII's own, whose case no mail server keeps apart; nothing else becomes one of them."""
    forms = dict(tried("s", "m@example.com"))
    assert all(letter.isascii() for letter in forms)
    assert forms == {letter: f"s{letter.lower()}m@example.com" for letter in forms}
    assert {*"abzABZ019._-+'"} <= forms.keys()
    assert not {*' \x00\x1f\x7f"(),:;<>@[\\]ſ\u212aé'} & forms.keys()


def test_no_code_point_in_a_domain_is_taken_for_another() -> None:
    """Two letters share a form where they differ in case or are canonically the same, and nowhere else."""
    sharing: dict[str, set[str]] = {}
    for letter, form in tried("sam@e", "m.com"):
        assert form.isascii()
        sharing.setdefault(form, set()).add(letter)
    for form, letters in sharing.items():
        assert normal(form) == form
        assert len({normalize("NFC", normalize("NFC", each).lower()) for each in letters}) == 1, letters
    taken = {letter for letters in sharing.values() for letter in letters}
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
