"""Signed answers and offline files, checked by a verifier that shares nothing with the service."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.exceptions import InvalidTag

from adapters.licensing.signing import Signer, certificate
from adapters.vault import Vault
from commands.licensing.signing_keys import RotateSigningKey
from domain.licensing.signing_keys import KeyWasRotated, SigningKeyRotated, SigningKeys, signing_keys
from domain.studio.projects import NoSuchProject, ProjectCreated
from tests.identity.crowd import Visitor, join, sign_in
from tests.licensing.studio import ACTIVATION, ask, new_code, new_project, refusal
from tests.licensing.verifier import Refused, open_file, open_response, verify
from tests.spec import NOW, given

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def project(developer: Visitor) -> str:
    return new_project(developer)


@pytest.fixture
def code(developer: Visitor, project: str) -> str:
    return new_code(developer, project)


def keys_of(http: httpx.Client, project: str) -> dict[str, Any]:
    answer = http.get(f"{ACTIVATION}/public-key", params={"project_id": project})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture(scope="module")
def key(client: httpx.Client, project: str) -> str:
    """What the plug-in was compiled with."""
    return str(keys_of(client, project)["public_key"])


def offline(http: httpx.Client, code: str, machine: str = "studio-mac", **more: Any) -> dict[str, Any]:
    answer = ask(http, "offline", code, machine, **more)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


# --- the verifier -----------------------------------------------------------------------------------------------------


def test_the_verifier_knows_the_vectors_of_the_rfc() -> None:
    """RFC 8032, 7.1, TEST 3."""
    public = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    verify(public, b"\xaf\x82", signature)
    with pytest.raises(Refused):
        verify(public, b"\xaf\x83", signature)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_signed_for_its_nonce_code_machine_and_verdict(
    client: httpx.Client, code: str, project: str, key: str
) -> None:
    nonce = uuid4().hex
    activated = ask(client, "activate", code, nonce=nonce).json()
    assert open_response(activated, key, nonce, code, "studio-mac")["verdict"] == "valid"
    answer = ask(client, "validate", code, nonce=nonce).json()
    said = open_response(answer, key, nonce, code, "studio-mac")
    assert set(said) == {"nonce", "project_id", "code", "machine", "verdict", "issued"}
    assert (said["verdict"], said["project_id"]) == ("valid", project)
    assert abs(datetime.fromisoformat(said["issued"]) - datetime.now(UTC)) < timedelta(minutes=1)
    elsewhere = ask(client, "validate", code, "studio-pc", nonce=nonce).json()
    assert elsewhere["valid"] is False
    assert open_response(elsewhere, key, nonce, code, "studio-pc")["verdict"] == "not_activated"


def test_without_a_nonce_nothing_is_signed(client: httpx.Client, code: str) -> None:
    assert "signed" not in ask(client, "activate", code).json()
    assert ask(client, "validate", code).json() == {"valid": True}


def test_a_client_refuses_what_is_unsigned_replayed_forged_or_about_something_else(
    client: httpx.Client, developer: Visitor, code: str, key: str
) -> None:
    nonce = uuid4().hex
    ask(client, "activate", code)
    answer = ask(client, "validate", code, nonce=nonce).json()
    open_response(answer, key, nonce, code, "studio-mac")
    forged = {"valid": True, "signed": {**answer["signed"], "enc": b64encode(b"{}").decode()}}
    other_key = keys_of(client, new_project(developer))["public_key"]
    for wrong, given_key, given_nonce, given_code, machine in [
        ({"valid": True}, key, nonce, code, "studio-mac"),
        (answer, key, uuid4().hex, code, "studio-mac"),
        (answer, key, nonce, str(uuid4()), "studio-mac"),
        (answer, key, nonce, code, "studio-pc"),
        (forged, key, nonce, code, "studio-mac"),
        (answer, other_key, nonce, code, "studio-mac"),
    ]:
        with pytest.raises(Refused):
            open_response(wrong, given_key, given_nonce, given_code, machine)


def test_refusals_are_signed_too(client: httpx.Client, developer: Visitor, project: str, key: str) -> None:
    code, nonce = new_code(developer, project, max_activations=1), uuid4().hex
    ask(client, "activate", code)
    full = ask(client, "activate", code, "studio-pc", nonce=nonce)
    assert (full.status_code, full.json()["error"]) == (403, "max_activations_reached")
    assert open_response(full.json(), key, nonce, code, "studio-pc")["verdict"] == "max_activations_reached"
    # Of a code that does not exist it is known only from the plug-in whose key it is to be.
    unknown = str(uuid4())
    answer = ask(client, "validate", unknown, nonce=nonce, plugin_id=project).json()
    assert open_response(answer, key, nonce, unknown, "studio-mac")["verdict"] == "code_not_found"
    assert "signed" not in ask(client, "validate", unknown, nonce=nonce).json()
    assert "signed" not in ask(client, "validate", unknown, nonce=nonce, plugin_id=str(uuid4())).json()


@pytest.mark.parametrize("nonce", ["short", "x" * 129, "with spaces in it", "zero\0zero", 12345678])
def test_a_nonce_is_8_to_128_characters(client: httpx.Client, code: str, nonce: object) -> None:
    assert refusal(ask(client, "validate", code, nonce=nonce)) == (400, "bad_request")


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_of_a_machine_that_must_show_itself_are_good_no_longer_than_its_seat(
    client: httpx.Client, developer: Visitor, project: str
) -> None:
    files = offline(client, new_code(developer, project, heartbeat_seconds=7_200), ttl_seconds=86_400)
    issued, expires = (datetime.fromisoformat(files[name]) for name in ("issued_at", "expires_at"))
    assert expires - issued == timedelta(seconds=9_000)


def test_files_prove_a_license_on_a_machine_without_a_network(
    client: httpx.Client, code: str, project: str, key: str
) -> None:
    files = offline(client, code, ttl_seconds=86_400)
    assert set(files) == {"license_file", "machine_file", "issued_at", "expires_at", "key_id"}
    now = datetime.now(UTC) + timedelta(seconds=1)
    found = open_file(files["license_file"], "license", key, now)
    assert set(found) == {"data", "included", "meta"}
    assert found["meta"] == {"issued": files["issued_at"], "expiry": files["expires_at"], "ttl": 86_400}
    attributes = found["data"]["attributes"]
    assert (attributes["key"], attributes["project_id"]) == (code, project)
    machine = open_file(files["machine_file"], "machine", key, now, fingerprint="studio-mac")
    assert machine["data"]["attributes"]["project_id"] == project
    assert machine["included"] == [found["data"]]
    # It took a seat like any other machine, once.
    offline(client, code)
    assert client.get(f"{ACTIVATION}/status/{code}").json()["activations"] == 1
    lines = files["machine_file"].splitlines()
    assert {len(line) for line in lines[1:-2]} == {60}
    assert files["machine_file"].endswith("-----END MACHINE FILE-----\n")


def test_encrypted_files_are_read_with_the_code_and_on_the_machine_only(
    client: httpx.Client, code: str, key: str
) -> None:
    files = offline(client, code, encrypt=True)
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert open_file(files["license_file"], "license", key, now, secret=code)["data"]["attributes"]["key"] == code
    machine = open_file(files["machine_file"], "machine", key, now, secret=code, fingerprint="studio-mac")
    assert machine["data"]["type"] == "machines"
    assert code not in b64decode("".join(files["license_file"].splitlines()[1:-1])).decode()
    with pytest.raises(InvalidTag):
        open_file(files["machine_file"], "machine", key, now, secret=code, fingerprint="studio-pc")


def test_files_are_good_for_their_time_their_plug_in_and_their_purpose(
    client: httpx.Client, developer: Visitor, code: str, key: str
) -> None:
    files = offline(client, code)
    issued = datetime.fromisoformat(files["issued_at"])
    assert datetime.fromisoformat(files["expires_at"]) - issued == 30 * DAY
    other = keys_of(client, new_project(developer))["public_key"]
    for what, name, given_key, now, machine in [
        ("machine_file", "machine", key, issued - DAY, "studio-mac"),
        ("machine_file", "machine", key, issued + 30 * DAY, "studio-mac"),
        ("machine_file", "machine", key, issued, "studio-pc"),
        ("machine_file", "machine", other, issued, "studio-mac"),
        ("license_file", "license", other, issued, None),
    ]:
        with pytest.raises(Refused):
            open_file(files[what], name, given_key, now, fingerprint=machine)
    # The same bytes under the other title are not what was signed.
    swapped = files["license_file"].replace("LICENSE", "MACHINE")
    with pytest.raises(Refused, match="signature"):
        open_file(swapped, "machine", key, issued, fingerprint="studio-mac")


def test_no_file_outlives_its_license_and_none_is_given_where_none_is_due(
    client: httpx.Client, developer: Visitor, project: str
) -> None:
    code = new_code(developer, project, max_activations=1)
    for seconds in (3599, 0, -1, "a while"):
        assert refusal(ask(client, "offline", code, ttl_seconds=seconds)) == (400, "bad_request")
    offline(client, code)
    assert refusal(ask(client, "offline", code, "studio-pc")) == (403, "max_activations_reached")
    assert refusal(ask(client, "offline", code, "unknown")) == (400, "invalid_machine_id")
    assert refusal(ask(client, "offline", str(uuid4()))) == (404, "code_not_found")
    assert refusal(ask(client, "offline", code, plugin_id=new_project(developer))) == (404, "code_not_found")


def test_every_purpose_has_signatures_of_its_own() -> None:
    signer = Signer(Vault(b"a secret of this test"))
    key = signer.public_key("P", 1)
    for purpose in ("license", "machine", "response"):
        signed = signer.sign("P", 1, purpose, b"{}")
        for other in ("license", "machine", "response"):
            message = f"{other}/{signed.enc}".encode()
            if other == purpose:
                verify(key, message, b64decode(signed.sig))
            else:
                with pytest.raises(Refused):
                    verify(key, message, b64decode(signed.sig))
    with pytest.raises(Refused):
        verify(signer.public_key("Q", 1), f"response/{signed.enc}".encode(), b64decode(signed.sig))
    assert certificate("license", signed).startswith("-----BEGIN LICENSE FILE-----\n")


# --- keys -------------------------------------------------------------------------------------------------------------

project_made = ProjectCreated(project_id="P", workspace_id="w1", name="Warm Tube", created_at=NOW)


def rotated(number: int, old_ends_at: datetime | None = None) -> tuple[str, SigningKeyRotated]:
    event = SigningKeyRotated(project_id="P", workspace_id="w1", number=number, rotated_at=NOW, old_ends_at=old_ends_at)
    return "signingkeys-P", event


def rotate(number: int, **more: Any) -> RotateSigningKey:
    return RotateSigningKey(project_id="P", workspace_id="w1", number=number, **more)


def test_a_key_is_rotated_once_and_by_its_own_people() -> None:
    made = ("project-P", project_made)
    given(made).when(rotate(2)).then(rotated(2)[1])
    given(made).when(rotate(2, old_end_after=DAY)).then(rotated(2, NOW + DAY)[1])
    given(made, rotated(2)).when(rotate(2)).then()
    given(made, rotated(2)).when(rotate(4)).refused(KeyWasRotated)
    given(made).when(RotateSigningKey(project_id="P", workspace_id="w2", number=2)).refused(NoSuchProject)


def test_of_two_rotations_at_once_the_one_that_ends_the_keys_before_is_not_taken_for_done() -> None:
    made, ending = ("project-P", project_made), rotate(2, old_end_after=DAY)
    given(made, rotated(2)).when(ending).refused(KeyWasRotated)
    given(made, rotated(2, NOW + 2 * DAY)).when(ending).refused(KeyWasRotated)
    # What was wished for is so.
    given(made, rotated(2, NOW + DAY)).when(ending).then()
    given(made, rotated(2, NOW + DAY)).when(rotate(2)).then()


def test_old_keys_end_when_they_were_to_and_no_later() -> None:
    assert SigningKeys().valid(NOW) == [1]
    kept = signing_keys.fold([rotated(2)[1]])
    assert kept.valid(NOW + 1000 * DAY) == [2, 1]
    ended = signing_keys.fold([rotated(2, NOW + DAY)[1], rotated(3, NOW + 2 * DAY)[1]])
    assert ended.valid(NOW) == [3, 2, 1]
    assert ended.valid(NOW + DAY) == [3, 2]
    assert ended.valid(NOW + 2 * DAY) == [3]


def test_a_rotation_that_is_asked_for_again_is_done_once(client: httpx.Client, developer: Visitor) -> None:
    project = new_project(developer)
    place = f"{ACTIVATION}/project/{project}/signing-keys"
    again = {"Idempotency-Key": uuid4().hex}
    answers = [developer.post(place, {}, headers=again) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert refusal(developer.post(place, {"old_keys_end_after_days": 1}, headers=again))[0] == 409
    # Two that come without a key are two.
    assert len(developer.post(place, {}).json()["keys"]) == 3


def test_after_a_rotation_plug_ins_of_old_are_answered_with_their_own_key(
    client: httpx.Client, developer: Visitor
) -> None:
    project = new_project(developer)
    code, nonce = new_code(developer, project), uuid4().hex
    old = keys_of(client, project)
    assert set(old) == {"project_id", "algorithm", "key_id", "public_key", "keys"}
    place = f"{ACTIVATION}/project/{project}/signing-keys"
    answer = developer.post(place, {})
    assert answer.status_code == 201
    new = answer.json()
    assert keys_of(client, project) == new
    assert [each["key_id"] for each in new["keys"]] == [new["key_id"], old["key_id"]]

    def signed_with(key: str, **more: Any) -> bool:
        found = ask(client, "activate", code, nonce=nonce, **more).json()
        try:
            open_response(found, key, nonce, code, "studio-mac")
        except Refused:
            return False
        return True

    assert signed_with(new["public_key"])
    assert not signed_with(old["public_key"])
    assert signed_with(old["public_key"], key_id=old["key_id"])
    assert signed_with(new["public_key"], key_id="unknown")
    files = offline(client, code, key_id=old["key_id"])
    open_file(files["license_file"], "license", old["public_key"], datetime.now(UTC) + timedelta(seconds=1))

    # A key that has ended signs nothing more, whoever asks for it.
    last = developer.post(place, {"old_keys_end_after_days": 0}).json()
    assert [each["key_id"] for each in last["keys"]] == [last["key_id"]]
    assert signed_with(last["public_key"], key_id=old["key_id"])


def test_keys_are_shown_to_everybody_and_changed_by_few(client: httpx.Client, developer: Visitor, project: str) -> None:
    place = f"{ACTIVATION}/project/{project}/signing-keys"
    assert refusal(client.get(f"{ACTIVATION}/public-key", params={"project_id": str(uuid4())})) == (404, "not_found")
    assert refusal(client.get(f"{ACTIVATION}/public-key")) == (400, "bad_request")
    assert refusal(join(developer, "member").post(place, {})) == (403, "forbidden")
    assert refusal(sign_in(client).post(place, {})) == (404, "not_found")
    assert refusal(developer.post(place, {"old_keys_end_after_days": -1})) == (400, "bad_request")
