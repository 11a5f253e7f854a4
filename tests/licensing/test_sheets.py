"""Keys as CSV: read all or not at all, and written so that no spreadsheet runs anything."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.licensing.sheets import ROWS_MAX, InvalidSheet, Row, read_sheet, write_sheet

UUID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


def test_a_sheet_is_read_line_by_line() -> None:
    text = (
        "\ufeffCode,max_activations,notes,expires_at,entitlements,key_type,updates_until,trial_days\r\n"
        f'{UUID.upper()},3,"Ann, ""the"" tester",2027-01-31,pro; surround,NFR,2027-06-01T12:00:00+02:00,\r\n'
        "\r\n"
        ",,,,,trial,,30\r\n"
    )
    assert read_sheet(text) == [
        Row(
            code=UUID,
            max_activations=3,
            notes='Ann, "the" tester',
            expires_at=datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC),
            entitlements=("pro", "surround"),
            key_type="nfr",
            updates_until=datetime(2027, 6, 1, 10, tzinfo=UTC),
        ),
        Row(key_type="trial", trial_days=30),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "first line"),
        ("code,colour\n", 1, "first line"),
        ("code,code\n", 1, "each once"),
        ("code\n", None, "no key"),
        (f"code\n{UUID}\nnonsense\n", 3, "code is a UUID"),
        (f"code,notes\n{UUID}\n", 2, "1 cells"),
        (f"code\n{UUID}\n{UUID.upper()}\n", 3, "line 2 already"),
        ("max_activations\n0\n", 2, "from 1 to 1000"),
        ("max_activations\n1001\n", 2, "from 1 to 1000"),
        ("max_activations\n0000000000021000\n", 2, "from 1 to 1000"),
        ("max_activations\n١\n", 2, "from 1 to 1000"),
        ("max_activations\n" + "9" * 5000 + "\n", 2, "from 1 to 1000"),
        ("expires_at\ntomorrow\n", 2, "a day such as"),
        ("expires_at\n2027-01-31T12:00:00\n", 2, "a day such as"),
        ("key_type\nfree\n", 2, "project_test"),
        ("notes\n" + "x" * 501 + "\n", 2, "500 characters"),
        ('notes\n"open\n', 2, "not CSV"),
        ("code\n\n\n\n", None, "no key"),
        ("trial_days\n" + "1\n" * (ROWS_MAX + 1), ROWS_MAX + 2, "1000 keys at most"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int | None, words: str) -> None:
    with pytest.raises(InvalidSheet, match=words) as told:
        read_sheet(text)
    assert told.value.facts.get("line") == line


@pytest.mark.parametrize("notes", ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(A1)"])
def test_what_a_spreadsheet_would_run_is_text_and_comes_back_as_it_was(notes: str) -> None:
    text = write_sheet([{"code": UUID, "key_type": "purchase", "max_activations": 2, "notes": notes}])
    assert f",'{notes[0]}" in text or f"\"'{notes[0]}" in text
    assert read_sheet(text)[0].notes == notes
