"""The workspaces somebody belongs to: list, change to another, begin one, rename, erase."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct
from msgspec.structs import replace

from api.auth import Asker, inside, needs
from api.identity.ports import Ports
from api.identity.profiles import Deleted, Profile, WorkspaceName, profile
from api.identity.registration import REGISTRATIONS, REGISTRATIONS_A_DAY
from api.identity.sign_in import enter, with_cookie
from api.rates import rate
from commands.identity.teams import ForgetWorkspace, OpenWorkspace, RenameWorkspace
from domain.identity.people import Preferences
from domain.identity.workspaces import NoSuchWorkspace, Role
from projections.identity.people import people
from projections.identity.workspaces import Workspace, workspaces

WorkspaceId = FromPath[Annotated[str, Meta(max_length=64)]]


class Membership(Struct):
    """A workspace one belongs to."""

    current: bool
    role: Role
    workspace_id: str
    workspace_name: str


class Memberships(Struct):
    """All workspaces one belongs to, in the order one came to them."""

    workspaces: list[Membership]


class Named(Struct, forbid_unknown_fields=True):
    """What a workspace is called."""

    workspace_name: WorkspaceName


class Entered(Struct):
    """The profile in the workspace one has changed to, and the token of the new session."""

    email: str
    expires_at: str
    notification_preferences: Preferences
    user_id: str
    workspace_id: str
    workspace_name: str
    workspace_role: Role
    session_token: str


@get("/v1/account/workspaces", tags=["platform"], opt=needs(None, "viewer"))
async def list_workspaces(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Memberships:
    """Every workspace the person asking belongs to."""
    person = await ports.directory.find(people, asker.person_id)
    found: dict[str, Workspace] = await ports.directory.many(workspaces, person.workspaces)
    return Memberships(
        workspaces=[
            _membership(found[each], asker)
            for each in person.workspaces
            if each in found and asker.person_id in found[each].members
        ]
    )


@post(
    "/v1/account/workspaces",
    tags=["platform"],
    opt={**needs(None, "viewer"), **rate(REGISTRATIONS, REGISTRATIONS_A_DAY)},
)
async def open_workspace(
    data: JSONBody[Named], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Membership:
    """Begin another workspace; whoever begins it owns it. It counts as a registration from where it is asked for."""
    workspace_id = ports.vault.new_id()
    await ports.execute(
        OpenWorkspace(workspace_id=workspace_id, person_id=asker.person_id, name=data.workspace_name.strip()),
        inside(asker.context, workspace_id, asker.person_id),
    )
    return _membership(await ports.directory.find(workspaces, workspace_id), asker)


@post(
    "/v1/account/workspaces/{workspace_id:str}/session",
    status_code=200,
    tags=["platform"],
    opt=needs(None, "viewer"),
)
async def change_workspace(
    request: Request[Any, Any, Any],
    workspace_id: WorkspaceId,
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[Entered]:
    """Work in another workspace: a session there. The one that asks goes on as it is."""
    token, expires_at = await enter(request, ports, asker, workspace_id)
    workspace: Workspace | None = await ports.directory.find(workspaces, workspace_id)
    role = workspace.members.get(asker.person_id) if workspace is not None else None
    if role is None:
        raise NoSuchWorkspace
    there: Profile = await profile(ports, replace(asker, workspace_id=workspace_id, role=role, expires_at=expires_at))
    body = Entered(
        email=there.email,
        expires_at=there.expires_at,
        notification_preferences=there.notification_preferences,
        user_id=there.user_id,
        workspace_id=there.workspace_id,
        workspace_name=there.workspace_name,
        workspace_role=there.workspace_role,
        session_token=token,
    )
    return with_cookie(Response(body), ports, token)


@patch("/v1/account/workspaces/{workspace_id:str}", tags=["platform"], opt=needs(None, "viewer"))
async def rename_workspace(
    workspace_id: WorkspaceId,
    data: JSONBody[Named],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Membership:
    """Call a workspace something else; its admins may."""
    await ports.execute(
        RenameWorkspace(workspace_id=workspace_id, by=asker.person_id, name=data.workspace_name.strip()),
        inside(asker.context, workspace_id, asker.person_id),
    )
    return _membership(await ports.directory.find(workspaces, workspace_id), asker)


@delete("/v1/account/workspaces/{workspace_id:str}", status_code=200, tags=["platform"], opt=needs(None, "viewer"))
async def forget_workspace(
    workspace_id: WorkspaceId, ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Deleted:
    """Erase a workspace with everything in it, for good; its owner may."""
    await ports.execute(
        ForgetWorkspace(workspace_id=workspace_id, by=asker.person_id),
        inside(asker.context, workspace_id, asker.person_id),
    )
    return Deleted(deleted=True)


def _membership(workspace: Workspace, asker: Asker) -> Membership:
    return Membership(
        current=workspace.workspace_id == asker.workspace_id,
        role=workspace.members[asker.person_id],
        workspace_id=workspace.workspace_id,
        workspace_name=workspace.name,
    )
