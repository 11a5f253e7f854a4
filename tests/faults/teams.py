"""Teams whose members come, may do more or less, own the place, and go."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.faults.people import Person, signed_in
from tests.faults.worlds import Asks
from tests.identity.crowd import new_email

TEAM = "/v1/account/team"
#: Who may invite others.
LEADING = ("owner", "admin")


class Teams:
    """Workspaces with their members, as the answers have it."""

    def __init__(self, asked: Asks, takes_effect: Callable[[Callable[[], bool], str], None]) -> None:
        self._asked = asked
        self._takes_effect = takes_effect
        #: Of each workspace somebody who may look, and the role of each member.
        self.roles: dict[str, tuple[Person, dict[str, str]]] = {}

    def team(self, chance: random.Random) -> None:
        """Somebody invites somebody, whose role changes; in the end they may own it all, leave, or be sent away."""
        owner = signed_in(self._asked, new_email())
        workspace_id = owner.workspace_id
        member = self._joined(owner, chance)
        roles = {owner.person_id: "owner", member.person_id: self._role_of(member)}
        self.roles[workspace_id] = (owner, roles)
        there = f"{TEAM}/members/{member.person_id}"
        for _ in range(chance.randrange(4)):
            role = chance.choice(["viewer", "member", "admin"])
            self._asked(200, "PATCH", there, json={"role": role}, headers=owner.headers)
            roles[member.person_id] = role
            self._may_lead(member, role)
        ends = chance.random()
        if ends < 0.3:
            # Forbidden: it was asked twice, because the first answer was lost, and who asks owns it no more.
            self._asked((200, 403), "POST", f"{there}/transfer-ownership", headers=owner.headers)
            roles |= {owner.person_id: "admin", member.person_id: "owner"}
            self._may_lead(member, "owner")
        elif ends < 0.7:
            # Not found, or nobody: likewise.
            if ends < 0.5:
                self._asked((200, 404), "DELETE", there, headers=owner.headers)
            else:
                self._asked((200, 401), "POST", f"{TEAM}/leave", headers=member.headers)
            del roles[member.person_id]
            self._takes_effect(lambda: self._is(401, member, "GET", TEAM), "whoever has gone sees the team")

    def _joined(self, owner: Person, chance: random.Random) -> Person:
        email = new_email()
        invited = {"email": email, "role": chance.choice(["viewer", "member", "admin"])}
        # There already: it was asked twice, because the first answer was lost.
        self._asked((201, 409), "POST", f"{TEAM}/invitations", json=invited, headers=owner.headers)
        at_home = signed_in(self._asked, email)
        path = f"/v1/account/workspaces/{owner.workspace_id}/session"
        inside = self._asked(200, "POST", path, headers=at_home.headers).json()
        member = Person(at_home.person_id, owner.workspace_id, inside["session_token"])
        self._may_lead(member, invited["role"])
        assert self._role_of(member) == invited["role"]
        return member

    def _may_lead(self, member: Person, role: str) -> None:
        """Whether they may ask somebody in follows from their role at once."""
        due = 404 if role in LEADING else 403
        nobody = f"{TEAM}/invitations/nobody-was-invited"
        self._takes_effect(lambda: self._is(due, member, "DELETE", nobody), f"{role} may do what they may not, or less")

    def _is(self, status: int, member: Person, method: str, path: str) -> bool:
        return self._asked((200, 401, 403, 404), method, path, headers=member.headers).status_code == status

    def _role_of(self, member: Person) -> str:
        return self._shown(member)[member.person_id]

    def _shown(self, member: Person) -> dict[str, str]:
        team: dict[str, Any] = self._asked(200, "GET", TEAM, headers=member.headers).json()
        return {each["user_id"]: each["role"] for each in team["members"]}

    def compare(self) -> None:
        """Everybody has the role that they were given last, and nobody else is there."""
        for looks, roles in self.roles.values():
            assert self._shown(looks) == roles, "a team is not as it was left"
