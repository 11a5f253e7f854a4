"""The machines of a license, for whoever holds it: seen from any of them, and released when one is lost."""

from __future__ import annotations

from typing import Annotated

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta, Struct

from api.licensing.activation import LIMITED, Code, Connection, counted, known, on_behalf_of
from api.licensing.keys import Released, activations_of, released
from api.licensing.ports import Ports
from commands.licensing.licenses import ReleaseMachine
from domain.licensing.licenses import licenses


class Holder(Struct, forbid_unknown_fields=True):
    """Whoever has a code, and on which machine they are, if they say so."""

    code: Code
    machine_id: str | None = None


class Release(Struct, forbid_unknown_fields=True):
    """A machine to be released, by its id in the list."""

    code: Code
    id: Annotated[str, Meta(max_length=64)]


class HeldMachine(Struct):
    """One machine, as much of it as its owner needs to know it by."""

    id: str
    machine: str
    name: str
    activated_at: str
    is_this_one: bool


class HeldMachines(Struct):
    """The machines that a license is active on, newest first."""

    machines: list[HeldMachine]
    activations: int
    max_activations: int


@post("/functions/v1/plugin-activation/machines", status_code=200, tags=["plug-in activation"], opt=LIMITED)
async def list_machines(request: Connection, data: JSONBody[Holder], ports: NamedDependency[Ports]) -> HeldMachines:
    """List the machines that a license is active on, masked, for whoever has its code."""
    license_id = await counted(request, ports, data.code)
    found = await known(request, ports, license_id)
    this = None if data.machine_id is None else ports.vault.machine_digest(license_id, data.machine_id)
    machines = [
        HeldMachine(
            id=each.id,
            machine=f"{each.machine[:4]}{_MASK}",
            name=masked(each.name),
            activated_at=each.activated_at,
            is_this_one=each.machine == this,
        )
        for each in await activations_of(ports, license_id, found.workspace_id)
    ]
    return HeldMachines(machines=machines, activations=len(machines), max_activations=found.max_activations)


@post("/functions/v1/plugin-activation/machines/release", status_code=200, tags=["plug-in activation"], opt=LIMITED)
async def release_machine(request: Connection, data: JSONBody[Release], ports: NamedDependency[Ports]) -> Released:
    """Release a machine that is lost, from another one. Doing it twice is no error."""
    license_id = await counted(request, ports, data.code)
    found = await known(request, ports, license_id)
    async with ports.turns.of(license_id):
        await ports.execute(ReleaseMachine(license_id=license_id, activation_id=data.id), on_behalf_of(found))
        return released(await ports.states.state(licenses, license_id))


_MASK = "••••"


def masked(name: str) -> str:
    """A name that says something only to who knows it."""
    return f"{name[0]}{_MASK}{name[-1]}" if len(name) > 3 else _MASK if name else ""
