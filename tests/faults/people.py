"""People who sign in while anything may be away."""

from __future__ import annotations

from typing import NamedTuple

from tests.faults.worlds import Asks


class Person(NamedTuple):
    """Somebody, with a session in a workspace."""

    person_id: str
    workspace_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """As whom they ask."""
        return {"Authorization": f"Bearer {self.token}"}


def signed_in(asked: Asks, email: str) -> Person:
    """Whoever has this address, with a session in their own workspace; with another code where an answer was lost."""
    while True:
        begun = asked(200, "POST", "/v1/auth/email/start", json={"email": email}).json()
        body = {"challenge_id": begun["challenge_id"], "code": begun["dev_code"]}
        # A code counts once: it was sent twice, because the first answer was lost.
        answer = asked((200, 422), "POST", "/v1/auth/email/verify", json=body)
        if answer.status_code == 200:
            made = answer.json()
            return Person(made["user_id"], made["workspace_id"], made["session_token"])
