"""Workspaces and the people in them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.identity.crowd import Json, Visitor, join, new_email, sign_in
from tests.journeys.kit import eventually

TEAM = "/v1/account/team"


def roles(visitor: Visitor) -> dict[str, str]:
    return {each["user_id"]: each["role"] for each in visitor.get(TEAM).json()["members"]}


def invite(owner: Visitor, email: str, **more: object) -> Json:
    answer = owner.post(f"{TEAM}/invitations", {"email": email, **more})
    assert answer.status_code == 201, answer.text
    body: Json = answer.json()
    return body


# --- profile ----------------------------------------------------------------------------------------------------------


def test_a_profile_says_who_and_where_and_what_mail(client: httpx.Client) -> None:
    me = sign_in(client)
    session = me.get("/v1/auth/session").json()
    assert me.get("/v1/account/profile").json() == {
        **session,
        "notification_preferences": {"analysis_complete": True, "billing_updates": True, "product_updates": True},
        "workspace_name": f"{me.email.split('@')[0]}'s workspace",
    }


def test_only_what_is_named_changes_in_a_profile(client: httpx.Client) -> None:
    me = sign_in(client)
    changed = me.patch("/v1/account/profile", {"notification_preferences": {"product_updates": False}}).json()
    assert changed["notification_preferences"] == {
        "analysis_complete": True,
        "billing_updates": True,
        "product_updates": False,
    }
    renamed = me.patch("/v1/account/profile", {"workspace_name": " Night Shift "}).json()
    assert renamed["workspace_name"] == "Night Shift"
    assert renamed["notification_preferences"] == changed["notification_preferences"]
    assert me.patch("/v1/account/profile", {}).json() == renamed
    assert me.get("/v1/account/profile").json() == renamed


@pytest.mark.parametrize(
    "body",
    [
        {"workspace_name": ""},
        {"workspace_name": "  "},
        {"workspace_name": "x" * 121},
        {"notification_preferences": {"product_updates": "often"}},
        {"notification_preferences": None},
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(client: httpx.Client, body: dict[str, object]) -> None:
    assert sign_in(client).patch("/v1/account/profile", body).status_code == 422


def test_preferences_are_a_persons_own_and_the_name_is_the_admins(client: httpx.Client) -> None:
    viewer = join(sign_in(client), "viewer")
    answer = viewer.patch("/v1/account/profile", {"notification_preferences": {"billing_updates": False}})
    assert answer.json()["notification_preferences"]["billing_updates"] is False
    assert viewer.patch("/v1/account/profile", {"workspace_name": "Mine now"}).status_code == 403


# --- invitations ------------------------------------------------------------------------------------------------------


def test_whoever_is_invited_belongs_to_the_workspace_as_soon_as_they_sign_in(client: httpx.Client) -> None:
    owner, email = sign_in(client), new_email()
    made = invite(owner, email.upper())
    assert set(made) == {"accepted_at", "created_at", "email", "expires_at", "id", "revoked_at", "role", "status"}
    assert (made["role"], made["status"]) == ("member", "pending")

    newcomer = sign_in(client, email)
    team = owner.get(TEAM).json()
    assert team["invitations"][0]["status"] == "accepted"
    assert team["invitations"][0]["accepted_at"]
    assert {each["email"]: (each["role"], each["status"]) for each in team["members"]} == {
        owner.email: ("owner", "active"),
        email: ("member", "active"),
    }
    listed = newcomer.get("/v1/account/workspaces").json()["workspaces"]
    assert [(each["workspace_id"], each["role"], each["current"]) for each in listed] == [
        (newcomer.workspace_id, "owner", True),
        (owner.workspace_id, "member", False),
    ]


def test_an_invitation_is_for_one_address_once_at_a_time(client: httpx.Client) -> None:
    owner, email = sign_in(client), new_email()
    first = invite(owner, email)
    assert owner.post(f"{TEAM}/invitations", {"email": email}).status_code == 409
    assert owner.delete(f"{TEAM}/invitations/{first['id']}").json() == {"revoked": True}
    assert owner.delete(f"{TEAM}/invitations/{first['id']}").json() == {"revoked": True}
    invite(owner, email, role="admin")
    sign_in(client, email)
    statuses = [(each["status"], each["role"]) for each in owner.get(TEAM).json()["invitations"]]
    assert statuses == [("accepted", "admin"), ("revoked", "member")]
    assert owner.post(f"{TEAM}/invitations", {"email": email}).status_code == 409
    assert owner.delete(f"{TEAM}/invitations/{uuid4()}").status_code == 404


def test_a_withdrawn_invitation_lets_nobody_in(client: httpx.Client) -> None:
    owner, email = sign_in(client), new_email()
    owner.delete(f"{TEAM}/invitations/{invite(owner, email)['id']}")
    newcomer = sign_in(client, email)
    assert len(newcomer.get("/v1/account/workspaces").json()["workspaces"]) == 1
    assert newcomer.user_id not in roles(owner)


def test_nobody_is_invited_to_own_a_workspace(client: httpx.Client) -> None:
    assert sign_in(client).post(f"{TEAM}/invitations", {"email": new_email(), "role": "owner"}).status_code == 409


def test_another_workspaces_invitation_is_not_found(client: httpx.Client) -> None:
    owner, stranger = sign_in(client), sign_in(client)
    made = invite(owner, new_email())
    assert stranger.delete(f"{TEAM}/invitations/{made['id']}").status_code == 404


@pytest.mark.parametrize("token", ["wrong", "bzi_", "bzi_" + "A" * 64, "é"])
def test_a_made_up_invitation_token_opens_nothing(client: httpx.Client, token: str) -> None:
    owner, me = sign_in(client), sign_in(client)
    made = invite(owner, new_email())
    path = f"{TEAM}/invitations/{made['id']}"
    assert me.post(f"{path}/accept", {"token": token}).status_code == 404
    assert client.post(f"{path}/decline", json={"token": token}).status_code == 404


# --- members ----------------------------------------------------------------------------------------------------------


def test_a_member_is_changed_and_the_change_counts_at_once(client: httpx.Client) -> None:
    owner = sign_in(client)
    member = join(owner, "viewer")
    assert member.post("/v1/api-keys", {"name": "A", "scopes": ["usage:read"]}).status_code == 403
    path = f"{TEAM}/members/{member.user_id}"
    changed = owner.patch(path, {"role": "admin"})
    assert changed.json() == {
        "member": {"email": member.email, "role": "admin", "status": "active", "user_id": member.user_id},
        "updated": True,
    }
    assert owner.patch(path, {"role": "admin"}).json()["updated"] is False
    assert member.post("/v1/api-keys", {"name": "A", "scopes": ["usage:read"]}).status_code == 201
    assert member.get("/v1/auth/session").json()["workspace_role"] == "admin"
    assert owner.patch(path, {"role": "boss"}).status_code == 422
    assert owner.patch(f"{TEAM}/members/{uuid4()}", {"role": "admin"}).status_code == 404


def test_there_is_one_owner_and_they_stay(client: httpx.Client) -> None:
    owner = sign_in(client)
    admin = join(owner, "admin")
    assert owner.patch(f"{TEAM}/members/{admin.user_id}", {"role": "owner"}).status_code == 409
    for somebody in (owner, admin):
        assert somebody.patch(f"{TEAM}/members/{owner.user_id}", {"role": "viewer"}).status_code == 409
        assert somebody.delete(f"{TEAM}/members/{owner.user_id}").status_code == 409
    assert owner.post(f"{TEAM}/leave").status_code == 409
    assert roles(owner) == {owner.user_id: "owner", admin.user_id: "admin"}


def test_whoever_is_removed_is_out_at_once_and_not_out_of_everywhere(client: httpx.Client, elsewhere: str) -> None:
    owner = sign_in(client)
    member = join(owner, "member")
    at_home = sign_in(client, member.email)
    with httpx.Client(base_url=elsewhere, timeout=30) as there:
        elsewhere_too = Visitor(there, member.email, member.user_id, member.workspace_id, member.token)
        assert elsewhere_too.get("/v1/usage").status_code == 200
        gone = owner.delete(f"{TEAM}/members/{member.user_id}")
        assert (gone.status_code, gone.json()) == (200, {"removed": True})
        assert member.get("/v1/usage").status_code == 401
        eventually(lambda: elsewhere_too.get("/v1/usage").status_code == 401, timeout=1.0)
    assert at_home.get("/v1/usage").status_code == 200
    assert member.user_id not in roles(owner)
    assert owner.delete(f"{TEAM}/members/{member.user_id}").status_code == 404
    assert at_home.post(f"/v1/account/workspaces/{owner.workspace_id}/session").status_code == 404


def test_a_member_leaves_by_themselves(client: httpx.Client) -> None:
    owner = sign_in(client)
    viewer = join(owner, "viewer")
    left = viewer.post(f"{TEAM}/leave")
    assert (left.status_code, left.json()) == (200, {"left": True})
    assert viewer.get("/v1/auth/session").status_code == 401
    assert roles(owner) == {owner.user_id: "owner"}


def test_ownership_changes_hands(client: httpx.Client) -> None:
    owner = sign_in(client)
    heir = join(owner, "viewer")
    path = f"{TEAM}/members/{heir.user_id}/transfer-ownership"
    answer = owner.post(path)
    assert answer.status_code == 200
    body = answer.json()
    assert body["transferred"] is True
    assert (body["owner"]["user_id"], body["owner"]["role"]) == (heir.user_id, "owner")
    assert (body["previous_owner"]["user_id"], body["previous_owner"]["role"]) == (owner.user_id, "admin")
    assert owner.post(path).status_code == 403
    assert owner.post(f"{TEAM}/leave").status_code == 200
    assert roles(heir) == {heir.user_id: "owner"}


def test_ownership_goes_to_members_only(client: httpx.Client) -> None:
    owner, stranger = sign_in(client), sign_in(client)
    for who in (stranger.user_id, str(uuid4())):
        assert owner.post(f"{TEAM}/members/{who}/transfer-ownership").status_code == 404


def test_two_transfers_at_once_leave_one_owner(client: httpx.Client) -> None:
    owner = sign_in(client)
    heirs = [join(owner, "member") for _ in range(2)]
    with ThreadPoolExecutor(2) as crowd:
        answers = list(
            crowd.map(
                lambda heir: (
                    httpx.post(
                        f"{client.base_url}{TEAM}/members/{heir.user_id}/transfer-ownership",
                        headers=owner.headers,
                        timeout=30,
                    ).status_code
                ),
                heirs,
            )
        )
    assert sorted(answers) == [200, 403]
    assert sorted(roles(owner).values()) == ["admin", "member", "owner"]


# --- workspaces -------------------------------------------------------------------------------------------------------


def test_somebody_begins_a_second_workspace_and_changes_to_it(client: httpx.Client) -> None:
    me = sign_in(client)
    answer = me.post("/v1/account/workspaces", {"workspace_name": "Side project"})
    assert answer.status_code == 201
    second = answer.json()
    assert second == {
        "current": False,
        "role": "owner",
        "workspace_id": second["workspace_id"],
        "workspace_name": "Side project",
    }
    entered = me.post(f"/v1/account/workspaces/{second['workspace_id']}/session")
    assert entered.status_code == 200
    body = entered.json()
    assert (body["workspace_id"], body["workspace_name"], body["email"]) == (
        second["workspace_id"],
        "Side project",
        me.email,
    )
    assert body["session_token"] in entered.headers["set-cookie"]
    there = me.inside(second["workspace_id"])
    assert there.get("/v1/account/profile").json()["workspace_name"] == "Side project"
    assert me.get("/v1/account/profile").json()["workspace_id"] == me.workspace_id
    current = [each["current"] for each in there.get("/v1/account/workspaces").json()["workspaces"]]
    assert current == [False, True]


def test_what_one_workspace_has_the_other_does_not_see(client: httpx.Client) -> None:
    me = sign_in(client)
    key = me.key()
    second = me.inside(me.post("/v1/account/workspaces", {"workspace_name": "Other"}).json()["workspace_id"])
    assert second.get("/v1/api-keys").json() == []
    assert second.delete(f"/v1/api-keys/{key['id']}").status_code == 404


def test_a_workspace_is_renamed_by_its_admins(client: httpx.Client) -> None:
    owner = sign_in(client)
    viewer = join(owner, "viewer")
    path = f"/v1/account/workspaces/{owner.workspace_id}"
    assert owner.patch(path, {"workspace_name": "Loud"}).json()["workspace_name"] == "Loud"
    assert viewer.patch(path, {"workspace_name": "Quiet"}).status_code == 403
    assert sign_in(client).patch(path, {"workspace_name": "Quiet"}).status_code == 404
    assert owner.get("/v1/account/profile").json()["workspace_name"] == "Loud"


def test_strangers_cannot_enter_a_workspace(client: httpx.Client) -> None:
    owner, stranger = sign_in(client), sign_in(client)
    for where in (owner.workspace_id, str(uuid4()), "nowhere"):
        assert stranger.post(f"/v1/account/workspaces/{where}/session").status_code == 404
