"""A workspace's connection with GitHub: an installation of our app in somebody's account there."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Forbidden, State, personal

AccountType = Literal["User", "Organization"]


class GithubConnected(Event):
    """An account there has let us in, which somebody who belongs to it has confirmed."""

    target: ClassVar[str] = "workspace"

    workspace_id: str
    installation_id: int
    account_login: Annotated[str, personal("workspace_id")]
    account_type: AccountType
    connected_at: datetime


class GithubDisconnected(Event):
    """We look at that account no more."""

    target: ClassVar[str] = "workspace"

    workspace_id: str
    installation_id: int
    disconnected_at: datetime


class Connection(State):
    """How a workspace is connected; without an installation it is not."""

    installation_id: int | None = None
    account_login: str = ""
    account_type: AccountType = "User"
    connected_at: datetime | None = None


def evolve(connection: Connection, event: Event) -> Connection:
    """A connection after one more event."""
    match event:
        case GithubConnected():
            return Connection(
                installation_id=event.installation_id,
                account_login=event.account_login,
                account_type=event.account_type,
                connected_at=event.connected_at,
            )
        case GithubDisconnected():
            return Connection()
    return connection


class GithubNotConnected(Forbidden):
    """GitHub is not connected. Install the app first."""


class InstallationElsewhere(Conflict):
    """This installation is connected with another workspace. Disconnect it there first."""


class InstallationIsGone(Conflict):
    """This installation is not there any more at GitHub. Install the app anew."""


connections = Category(name="github-connection", initial=Connection(), evolve=evolve)


# --- installations: to which workspace an installation belongs --------------------------------------------------------


class InstallationTaken(Event):
    """An installation belongs to this workspace, or to none any more."""

    target: ClassVar[str] = "installation"

    installation_id: str
    workspace_id: str
    taken_at: datetime


class InstallationGone(Event):
    """An installation was taken out of its account at GitHub."""

    target: ClassVar[str] = "installation"

    installation_id: str
    gone_at: datetime


class Installation(State):
    """Whose it is, and how often it was taken out: what GitHub has said of it before that is old."""

    workspace_id: str = ""
    gone: int = 0


def take(installation: Installation, event: Event) -> Installation:
    """An installation after one more event."""
    match event:
        case InstallationTaken():
            return replace(installation, workspace_id=event.workspace_id)
        case InstallationGone():
            return replace(installation, gone=installation.gone + 1)
    return installation


installations = Category(name="github-installation", initial=Installation(), evolve=take)
