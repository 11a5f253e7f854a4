"""The connection of a workspace with GitHub: made, looked at, ended; and the repositories that it shows."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from adapters.github.app import Repo, is_code
from api.auth import Asker, anonymous, needs
from api.kernel import whole
from api.repositories.ports import Ports
from commands.repositories.connections import ConnectGithub, DisconnectGithub
from domain.identity.workspaces import workspaces
from domain.kernel import Forbidden, Unavailable
from domain.ledger import Context
from domain.repositories.connections import Connection, GithubNotConnected, connections
from projections.kernel import seconds

READ = needs("builds:write", "viewer")
MANAGE = needs("builds:write", "admin")
#: What a repository calls itself that is a plug-in of ours.
TOPIC = "beatconnect-plugin"
STATE_SECONDS = 3600


class GithubIsOff(Unavailable):
    """This service has no app at GitHub. Its operator sets LEDGERLINE_GITHUB_APP_ID and what belongs to it."""


class BadInstallation(Forbidden):
    """This is not an installation that you have begun here and may see at GitHub. Begin anew."""


class Status(Struct):
    """Whether GitHub is connected, and with which account."""

    connected: bool
    account_login: str | None
    account_type: Literal["User", "Organization"] | None
    connected_at: str | None


class Disconnected(Struct):
    """It is not connected any more."""

    success: bool
    message: str


class Installing(Struct):
    """Where to go to install the app."""

    install_url: str


class Repos(Struct):
    """Repositories that may be linked."""

    repos: list[Repo]


@get("/functions/v1/github-app-callback/status", tags=["studio"], opt=READ)
async def get_github_status(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Status:
    """Check if GitHub is connected."""
    return _status(await ports.log.state(connections, asker.workspace_id))


@post("/functions/v1/github-app-callback/install", status_code=200, tags=["studio"], opt=MANAGE)
async def begin_installation(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Installing:
    """Where to install the app. GitHub leads back here, to this workspace and for an hour."""
    if not ports.github.is_set_up:
        raise GithubIsOff
    expires = int(ports.now().timestamp()) + STATE_SECONDS
    state = _state(ports, asker.workspace_id, expires, asker.tenancy)
    return Installing(install_url=ports.github.install_url(state))


@get("/functions/v1/github-app-callback", tags=["studio"], opt={"statuses": ("403",)})
async def end_installation(
    ports: NamedDependency[Ports],
    installation_id: Annotated[int, QueryParameter(ge=1, le=2**53, description="As GitHub says")],
    given: Annotated[str, QueryParameter(name="state", max_length=256, description="As it was given to GitHub")] = "",
    code: Annotated[str, QueryParameter(max_length=128, description="What proves who installed it")] = "",
    setup_action: Annotated[str, QueryParameter(max_length=32, description="What was done")] = "install",  # noqa: ARG001
) -> Status:
    """Where GitHub leads people who have installed the app: it is asked whether they may see that installation."""
    if not ports.github.is_set_up:
        raise GithubIsOff
    workspace_id, *numbers = given.split(".")[:3]
    expires, tenancy = (*map(whole, numbers), None, None)[:2]
    if expires is None or tenancy is None or ports.now().timestamp() > expires or not is_code(code):
        raise BadInstallation
    if not ports.vault.same(_state(ports, workspace_id, expires, tenancy), given):
        raise BadInstallation
    if (await ports.log.state(workspaces, workspace_id)).tenancy != tenancy:
        raise BadInstallation
    account = await ports.github.account_of(installation_id, code)
    if account is None:
        raise BadInstallation
    wish = ConnectGithub(
        workspace_id=workspace_id,
        installation_id=installation_id,
        account_login=account.login,
        account_type="Organization" if account.type == "Organization" else "User",
    )
    context = Context(workspace_id=workspace_id, actor="github", correlation_id=anonymous().correlation_id)
    await ports.execute(wish, context)
    return _status(await ports.log.state(connections, workspace_id))


@delete("/functions/v1/github-app-callback/disconnect", status_code=200, tags=["studio"], opt=MANAGE)
async def disconnect_github(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Disconnected:
    """Remove the GitHub connection."""
    await ports.execute(DisconnectGithub(workspace_id=asker.workspace_id), asker.context)
    return Disconnected(success=True, message="GitHub disconnected")


@get("/functions/v1/plugin-repos/discover", tags=["studio"], opt=READ | {"statuses": ("403",)})
async def discover_repositories(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    every: Annotated[bool, QueryParameter(name="all", description="Also those without the topic")] = False,
) -> Repos:
    """List discoverable plugin repositories: those of the installation that have the topic beatconnect-plugin."""
    connection = await ports.log.state(connections, asker.workspace_id)
    if connection.installation_id is None:
        raise GithubNotConnected
    found = await ports.github.repositories(connection.installation_id)
    return Repos(repos=[each for each in found if every or TOPIC in each.topics])


def _state(ports: Ports, workspace_id: str, expires: int, tenancy: int) -> str:
    """What GitHub gives back, by which it is known for whom somebody has installed the app."""
    proof = ports.vault.token("github installation", f"{workspace_id}/{expires}/{tenancy}")
    return f"{workspace_id}.{expires}.{tenancy}.{proof}"


def _status(connection: Connection) -> Status:
    connected = connection.installation_id is not None
    return Status(
        connected=connected,
        account_login=connection.account_login if connected else None,
        account_type=connection.account_type if connected else None,
        connected_at=seconds(connection.connected_at) if connection.connected_at is not None else None,
    )
