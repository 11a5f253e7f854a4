"""Secrets of a project: set, listed by name, removed. What they are is shown to nobody; signing steps get them."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, put
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import FromPath, JSONBody, PathParameter
from msgspec import Meta, Struct

from api.auth import Asker, needs
from api.builds.ports import Ports
from commands.builds.secrets import RemoveSecret, SetSecret
from domain.builds.secrets import NoSuchSecret, check_name, project_secrets
from domain.studio.projects import projects
from projections.kernel import seconds

ADMIN = needs("builds:write", "admin")
Name = Annotated[
    str,
    PathParameter(description="Name of the variable", examples=[Example(value="SIGNING_PASSWORD")]),
]


class NewSecret(Struct, forbid_unknown_fields=True):
    """A text that a signing step finds in its environment; shorter ones could not be kept out of logs."""

    value: Annotated[str, Meta(min_length=4, max_length=32_768, pattern=r"^[^\x00]*\Z", examples=["correct horse"])]


class Secret(Struct):
    """That there is one under this name, and since when."""

    name: str
    set_at: str


class SecretList(Struct):
    """The secrets of a project, by name."""

    secrets: list[Secret]


@put("/functions/v1/projects/{project_id:str}/secrets/{name:str}", status_code=200, tags=["studio"], opt=ADMIN)
async def set_secret(
    project_id: FromPath[str],
    name: Name,
    data: JSONBody[NewSecret],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Secret:
    """Set a secret of a project, in place of the one of that name. Builds sign with it; nobody can read it."""
    (await ports.log.state(projects, project_id)).belongs_to(asker.workspace_id)
    check_name(name)
    secret_id = ports.vault.new_id()
    await ports.secrets.put(asker.workspace_id, project_id, secret_id, data.value)
    wish = SetSecret(project_id=project_id, workspace_id=asker.workspace_id, name=name, secret_id=secret_id)
    await ports.execute(wish, asker.context)
    return Secret(name=name, set_at=seconds(ports.now()))


@get("/functions/v1/projects/{project_id:str}/secrets", tags=["studio"], opt=ADMIN)
async def list_secrets(
    project_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> SecretList:
    """The names of a project's secrets."""
    (await ports.log.state(projects, project_id)).belongs_to(asker.workspace_id)
    held = (await ports.log.state(project_secrets, project_id)).held
    return SecretList(secrets=[Secret(name=name, set_at=seconds(each.set_at)) for name, each in sorted(held.items())])


@delete("/functions/v1/projects/{project_id:str}/secrets/{name:str}", status_code=204, tags=["studio"], opt=ADMIN)
async def remove_secret(
    project_id: FromPath[str], name: Name, ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> None:
    """Take a secret of a project away."""
    (await ports.log.state(projects, project_id)).belongs_to(asker.workspace_id)
    if name not in (await ports.log.state(project_secrets, project_id)).held:
        raise NoSuchSecret
    wish = RemoveSecret(project_id=project_id, workspace_id=asker.workspace_id, name=name)
    await ports.execute(wish, asker.context)
