"""What letters say in words that somebody else chose."""

from __future__ import annotations

import pytest

from commands.identity.reactions import NAME_LENGTH_MAX, named


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ada's Studio - Zürich 2", "“Ada's Studio - Zürich 2”"),
        ("Win at https://evil.example/x?y", "“Win at https evil example x y”"),
        ("www.evil.example", "“www evil example”"),
        ("pay@evil.example", "“pay evil example”"),
        ("evil。example", "“evil example”"),
        ("one\r\n\r\ntwo\u2028three\u202efour", "“one two three four”"),
        ("://", "“-”"),
        ("”quoted“", "“quoted”"),
        ("a" * 300, f"“{'a' * NAME_LENGTH_MAX}”"),
    ],
)
def test_a_name_in_a_letter_is_quoted_short_and_leads_nowhere(name: str, shown: str) -> None:
    assert named(name) == shown
