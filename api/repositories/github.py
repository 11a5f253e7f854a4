"""The connection of a workspace with GitHub: made, looked at, ended; and the repositories that it shows."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Literal

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import DecodeError, Meta, Struct, json

from adapters.github.app import Repo, is_code
from api.auth import Asker, needs
from api.passes import new_pass, read_pass
from api.repositories.ports import Ports
from commands.repositories.connections import ConnectGithub, DisconnectGithub
from domain.kernel import Forbidden, Unavailable
from domain.repositories.connections import Connection, GithubNotConnected, connections, installations
from projections.kernel import seconds

READ = needs("builds:write", "viewer")
MANAGE = needs("builds:write", "admin")
#: What a repository calls itself that is a plug-in of ours.
TOPIC = "beatconnect-plugin"
STATE_SECONDS = 3600
#: What a pass is for that GitHub gives back.
INSTALLATION = "github installation"


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


class Installed(Struct):
    """The app is installed in this account. Whoever has begun it connects it with `confirmation`, within an hour."""

    connected: bool
    account_login: str
    account_type: Literal["User", "Organization"]
    confirmation: str


class Confirmed(Struct, forbid_unknown_fields=True):
    """What GitHub led to has shown."""

    confirmation: Annotated[str, Meta(min_length=1, max_length=2048, examples=["eyJpbnN0YWxsYXRpb25faWQiOjd9.c2lnbg"])]


class _Seen(Struct):
    """What GitHub has said of an installation, and for which workspace it was begun until when."""

    workspace_id: str
    expires: int
    installation_id: int
    account_login: str
    account_type: Literal["User", "Organization"]
    #: How often the installation had been taken out of its account by then.
    gone: int = 0


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
    state = new_pass(ports.vault, INSTALLATION, asker, expires)
    return Installing(install_url=ports.github.install_url(state))


@get("/functions/v1/github-app-callback", tags=["studio"], opt={"statuses": ("403",)})
async def end_installation(
    ports: NamedDependency[Ports],
    installation_id: Annotated[int, QueryParameter(ge=1, le=2**53, description="As GitHub says")],
    given: Annotated[str, QueryParameter(name="state", max_length=256, description="As it was given to GitHub")] = "",
    code: Annotated[str, QueryParameter(max_length=128, description="What proves who installed it")] = "",
    setup_action: Annotated[str, QueryParameter(max_length=32, description="What was done")] = "install",  # noqa: ARG001
) -> Installed:
    """Where GitHub leads people who have installed the app: it is asked whether they may see that installation.

    It is not connected by that: whoever has sent somebody else the link would read their repositories.
    """
    if not ports.github.is_set_up:
        raise GithubIsOff
    if not is_code(code):
        raise BadInstallation
    shown = await read_pass(given, INSTALLATION, ports.vault, ports.log, ports.now())
    if shown is None:
        raise BadInstallation
    # Read before GitHub is asked: if it is gone by the time of the answer, the answer is old.
    known = await ports.log.state(installations, str(installation_id))
    account = await ports.github.account_of(installation_id, code)
    if account is None:
        raise BadInstallation
    seen = _Seen(
        workspace_id=shown.workspace_id,
        expires=int(ports.now().timestamp()) + STATE_SECONDS,
        installation_id=installation_id,
        account_login=account.login,
        account_type="Organization" if account.type == "Organization" else "User",
        gone=known.gone,
    )
    return Installed(False, seen.account_login, seen.account_type, _confirmation(ports, seen))


@post(
    "/functions/v1/github-app-callback/confirm",
    status_code=200,
    tags=["studio"],
    opt=MANAGE | {"statuses": ("403", "409")},
)
async def confirm_installation(
    data: JSONBody[Confirmed], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Status:
    """Connect the workspace with the installation that GitHub has led back from."""
    text, _, _ = data.confirmation.partition(".")
    try:
        seen = json.decode(urlsafe_b64decode(text + "=="), type=_Seen)
    except (ValueError, DecodeError, RecursionError) as nonsense:
        raise BadInstallation from nonsense
    if not ports.vault.same(_confirmation(ports, seen), data.confirmation):
        raise BadInstallation
    if seen.workspace_id != asker.workspace_id or ports.now().timestamp() > seen.expires:
        raise BadInstallation
    wish = ConnectGithub(
        workspace_id=asker.workspace_id,
        installation_id=seen.installation_id,
        account_login=seen.account_login,
        account_type=seen.account_type,
        gone=seen.gone,
    )
    await ports.execute(wish, asker.context)
    return _status(await ports.log.state(connections, asker.workspace_id))


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


def _confirmation(ports: Ports, seen: _Seen) -> str:
    text = urlsafe_b64encode(json.encode(seen)).decode().rstrip("=")
    return f"{text}.{ports.vault.token('github confirmation', text)}"


def _status(connection: Connection) -> Status:
    connected = connection.installation_id is not None
    return Status(
        connected=connected,
        account_login=connection.account_login if connected else None,
        account_type=connection.account_type if connected else None,
        connected_at=seconds(connection.connected_at) if connection.connected_at is not None else None,
    )
