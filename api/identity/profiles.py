"""The person who is asking: what they want mail about, and that they may be forgotten."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, delete, get, patch
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, replace

from api.auth import COOKIE, Asker, needs
from api.identity.ports import Ports
from commands.identity.people import ForgetPerson
from commands.identity.teams import ChangeProfile
from domain.identity.people import NoSuchPerson, Preferences
from domain.identity.workspaces import Role
from projections.identity.people import Person, people
from projections.identity.workspaces import Workspace, workspaces
from projections.kernel import seconds

WorkspaceName = Annotated[str, Meta(min_length=1, max_length=120, pattern=r"\S")]


class Profile(Struct):
    """Who is asking, in which workspace, and what they want mail about."""

    email: str
    expires_at: str
    notification_preferences: Preferences
    user_id: str
    workspace_id: str
    workspace_name: str
    workspace_role: Role


class ChangedPreferences(Struct):
    """What is to be different."""

    analysis_complete: bool | UnsetType = UNSET
    billing_updates: bool | UnsetType = UNSET
    product_updates: bool | UnsetType = UNSET


class ChangedProfile(Struct):
    """What is to be different; renaming the workspace takes an admin."""

    notification_preferences: ChangedPreferences | UnsetType = UNSET
    workspace_name: WorkspaceName | UnsetType = UNSET


class Deleted(Struct):
    """It is gone for good."""

    deleted: bool


@get("/v1/account/profile", tags=["platform"], opt=needs(None, "viewer"))
async def get_profile(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Profile:
    """The person who is asking, and the workspace they are in."""
    return await profile(ports, asker)


@patch("/v1/account/profile", tags=["platform"], opt=needs(None, "viewer"))
async def change_profile(
    data: JSONBody[ChangedProfile], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Profile:
    """Change what one wants mail about, or what the workspace is called."""
    wish = ChangeProfile(person_id=asker.person_id, workspace_id=asker.workspace_id)
    if data.workspace_name is not UNSET:
        wish = replace(wish, workspace_name=data.workspace_name.strip())
    if data.notification_preferences is not UNSET:
        said = asdict(data.notification_preferences)
        wish = replace(wish, **{name: value for name, value in said.items() if value is not UNSET})
    await ports.execute(wish, asker.context)
    return await profile(ports, asker)


@delete("/v1/account/profile", status_code=200, tags=["platform"], opt=needs(None, "viewer"))
async def forget_me(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Response[Deleted]:
    """Erase oneself for good: workspaces one is alone in go too; shared ones must have another owner first."""
    person = await _person(ports, asker)
    await ports.execute(
        ForgetPerson(
            person_id=asker.person_id,
            email_digest=ports.vault.kept_email_digest(person.email) if person.email else None,
        ),
        asker.context,
    )
    response = Response(Deleted(deleted=True))
    response.delete_cookie(COOKIE)
    return response


async def profile(ports: Ports, asker: Asker) -> Profile:
    """The profile of whoever is asking."""
    assert asker.role is not None
    assert asker.expires_at is not None
    person = await _person(ports, asker)
    workspace: Workspace = await ports.directory.find(workspaces, asker.workspace_id)
    return Profile(
        email=person.email,
        expires_at=seconds(asker.expires_at),
        notification_preferences=person.preferences,
        user_id=asker.person_id,
        workspace_id=asker.workspace_id,
        workspace_name=workspace.name,
        workspace_role=asker.role,
    )


async def _person(ports: Ports, asker: Asker) -> Person:
    person: Any = await ports.directory.find(people, asker.person_id)
    if person is None or person.forgotten:
        raise NoSuchPerson
    found: Person = person
    return found
