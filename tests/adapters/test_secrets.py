"""Keys that can be told from typing errors, and digests that give nothing away."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.secrets import (
    API_KEY_PREFIX,
    digest,
    new_api_key,
    new_code,
    shown,
)
from adapters.vault import Vault

SECRET = b"a server's secret of some length"
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def is_api_key(text: str, prefix: str = API_KEY_PREFIX) -> bool:
    """Whether this is a key without a typing error, as a scanner for secrets finds out, which knows only the format."""
    if not re.fullmatch(rf"{prefix}[0-9A-Za-z]{{49}}", text, re.ASCII):
        return False
    check = 0
    for letter in text[-6:]:
        check = check * 62 + LETTERS.index(letter)
    return check == zlib.crc32(text[:-6].encode())


def test_new_keys_differ_and_are_well_formed() -> None:
    keys = {new_api_key() for _ in range(200)}
    assert len(keys) == 200
    for key in keys:
        assert re.fullmatch(r"bz_[0-9A-Za-z]{49}", key)
        assert is_api_key(key)


def test_a_key_uses_every_letter_and_digit() -> None:
    assert len(set("".join(new_api_key().removeprefix(API_KEY_PREFIX) for _ in range(200)))) == 62


@given(st.integers(0, 51), st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_- é"))
def test_one_wrong_character_is_noticed(position: int, character: str) -> None:
    key = new_api_key()
    assume(key[position] != character)
    assert not is_api_key(key[:position] + character + key[position + 1 :])


@given(st.integers(3, 50))
def test_two_swapped_characters_are_noticed(position: int) -> None:
    key = new_api_key()
    swapped = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
    assume(swapped != key)
    assert not is_api_key(swapped)


@pytest.mark.parametrize("text", ["", "bz_", "bz_your_api_key", "x" * 52, "bz_" + "0" * 49, "bz_" + "٣" * 49])
def test_other_texts_are_no_keys(text: str) -> None:
    assert not is_api_key(text)


def test_a_key_with_a_newline_or_a_tail_is_no_key() -> None:
    key = new_api_key()
    assert not is_api_key(key + "\n")
    assert not is_api_key(key + "0")


def test_a_key_of_one_kind_is_no_key_of_another() -> None:
    key = new_api_key("run_")
    assert is_api_key(key, "run_")
    assert not is_api_key(key)
    assert not is_api_key("bz_" + key.removeprefix("run_"))


def test_what_is_kept_of_a_key_is_its_sha256() -> None:
    assert digest("bz_x") == hashlib.sha256(b"bz_x").hexdigest()


def test_what_is_shown_of_a_key_is_its_beginning_only() -> None:
    key = new_api_key()
    assert shown(key) == key[:11]


def test_codes_are_six_digits_and_keep_their_leading_zeros() -> None:
    codes = [new_code() for _ in range(500)]
    assert all(re.fullmatch(r"[0-9]{6}", code) for code in codes)
    assert any(code.startswith("0") for code in codes)
    assert len(set(codes)) > 450


def test_a_device_is_known_to_its_own_mailbox_and_for_its_time() -> None:
    vault, another = Vault(b"a secret" * 5), Vault(b"another" * 5)
    device_id = vault.new_id()
    token = vault.device_token(device_id, "digest", 1_000)
    assert vault.device(token, "digest", 999.9) == device_id
    assert vault.device(token, "another digest", 999.9) is None
    assert vault.device(token, "digest", 1_000) is None
    assert another.device(token, "digest", 999.9) is None
    for odd in ("", "bzd_", "x", token[:-1], f"{token}=", token.swapcase(), "bzd_\xff"):
        assert vault.device(odd, "digest", 0) is None


@pytest.mark.parametrize("subject", ["", "x", "workspace/license", "é" * 500])
def test_what_follows_from_the_secret_is_hmac_sha_256_whoever_computes_it(subject: str) -> None:
    key = hmac.digest(b"a secret of the tests", b"ledgerline token rate", "sha256")
    expected = base64.urlsafe_b64encode(hmac.digest(key, subject.encode(), "sha256")).decode().rstrip("=")
    assert Vault(b"a secret of the tests").token("rate", subject) == expected
