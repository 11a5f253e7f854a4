"""Codes, machine ids and fingerprints as they are typed and sent."""

from __future__ import annotations

from hashlib import sha256

import pytest

from domain.licensing.codes import (
    InvalidCode,
    InvalidFingerprints,
    InvalidMachineId,
    check_fingerprints,
    check_machine_id,
    normal_code,
)

UUID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        (UUID, UUID),
        (UUID.upper(), UUID),
        (f"  {UUID}\n", UUID),
        ("abcd-1234-efgh-5678", "ABCD-1234-EFGH-5678"),
        ("ABCD-1234-EFGH-5678", "ABCD-1234-EFGH-5678"),
    ],
)
def test_a_code_has_one_form_however_it_is_typed(typed: str, normal: str) -> None:
    assert normal_code(typed) == normal


@pytest.mark.parametrize(
    "typed",
    ["", "x", UUID[:-1], f"{UUID}0", UUID.replace("-", ""), f"{{{UUID}}}", "ABCD-1234-EFGH", "ÄBCD-1234-EFGH-5678",
     "١٢٣٤-1234-1234-1234", f"{UUID}\0", "a" * 10_000],
)  # fmt: skip
def test_what_has_no_such_form_is_no_code(typed: str) -> None:
    with pytest.raises(InvalidCode):
        normal_code(typed)


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


PLACEHOLDERS = [
    "", " ", "None", "none", "NULL", "unknown", "Unknown", "0", "0000", "00000000-0000-0000-0000-000000000000",
    "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "To be filled by O.E.M.", "---",
    digest(""), digest("unknown"), digest("None"), digest("UNKNOWN"), digest("0"), "0" * 64,
]  # fmt: skip


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder_is_no_machine(text: str) -> None:
    with pytest.raises(InvalidMachineId):
        check_machine_id(text)


@pytest.mark.parametrize("text", ["a" * 256, "a\0b"])
def test_an_id_is_short_and_can_be_kept(text: str) -> None:
    with pytest.raises(InvalidMachineId):
        check_machine_id(text)


@pytest.mark.parametrize("text", ["unique-machine-identifier", "1", "f", "a" * 255, digest("mine"), "studio mac", "0f"])
def test_anything_else_is_one(text: str) -> None:
    assert check_machine_id(text) == text


def test_fingerprints_are_three_to_ten_known_components() -> None:
    assert check_fingerprints(None) == check_fingerprints([]) == ()
    assert check_fingerprints(["disk", "board", "cpu"]) == ("disk", "board", "cpu")
    for wrong in (["disk"], ["disk", "board"], ["disk", "board", "unknown"], ["c"] * 11, ["disk", "cpu", "x" * 256]):
        with pytest.raises(InvalidFingerprints):
            check_fingerprints(wrong)
