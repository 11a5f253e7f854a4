"""What routes do, read from their source: nothing goes on after the commit, and what is limited is counted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from litestar.handlers import HTTPRouteHandler

from api.app import routes
from commands.kernel import REACTIONS
from tests.walking import modules

ROOT = Path(__file__).parents[2]

#: A call of a port: `ports.log.state`, also of `asking.ports`.
PORT = re.compile(r"(?:\w+\.)*ports\.([\w.]+)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A module of the routes' layer: its functions and methods, and where its names come from."""

    functions: dict[str, Function]
    imported: dict[str, tuple[str, str]]


def _module(source: str) -> Module:
    tree = ast.parse(source)
    return Module(
        {each.name: each for each in ast.walk(tree) if isinstance(each, Function)},
        {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module is not None
            for alias in node.names
        },
    )


@cache
def _layer() -> dict[str, Module]:
    """Every module of the routes' layer by its name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): _module(path.read_text())
        for path in (ROOT / "api").rglob("*.py")
    }


def _calls(module: str, function: Function, layer: dict[str, Module], seen: tuple[str, ...] = ()) -> Iterator[str]:
    """What a function and its helpers call, in order; what is called in a loop comes twice.

    Ports by their names (`log.state`), and what is waited for and is not of this layer by its own.
    """
    waited = {id(each.value) for each in ast.walk(function) if isinstance(each, ast.Await)}
    loops = [
        each for each in ast.walk(function) if isinstance(each, (ast.For, ast.AsyncFor, ast.While, ast.comprehension))
    ]
    looped = {id(each) for loop in loops for each in ast.walk(loop)}
    calls = [each for each in ast.walk(function) if isinstance(each, ast.Call)]
    # Arguments are made before what they are given to is called.
    for each in sorted(calls, key=lambda call: (call.end_lineno, call.end_col_offset)):
        name = ast.unparse(each.func).removeprefix("self.")
        found = list(_called(name, each, module, layer, seen, is_waited=id(each) in waited))
        yield from found * (2 if id(each) in looped else 1)


def _called(
    name: str, call: ast.Call, module: str, layer: dict[str, Module], seen: tuple[str, ...], *, is_waited: bool
) -> Iterator[str]:
    if found := PORT.fullmatch(name):
        yield found[1]
        return
    where, what = layer[module].imported.get(name, (module, name))
    helper = layer[where].functions.get(what) if where in layer else None
    if helper is not None and f"{where}.{what}" not in seen:
        yield from _calls(where, helper, layer, (*seen, f"{where}.{what}"))
    elif is_waited and helper is None and name.isidentifier():
        yield name


def _calls_of(route: HTTPRouteHandler) -> list[str]:
    """What a route calls, as `_calls` tells it."""
    module, name = route.fn.__module__, route.handler_name
    return list(_calls(module, _layer()[module].functions[name], _layer()))


def _ours() -> list[HTTPRouteHandler]:
    modules()
    return [each for each in routes() if each.fn.__module__ in _layer()]


# --- nothing after the commit ----------------------------------------------------------------------------------------

#: Ports, or what is asked of them, that change nothing.
READS = frozenset(
    {
        "body_of",
        "books.progress",
        "directory",
        "find",
        "github.token_for",
        "jobs.of",
        "links",
        "log",
        "now",
        "outlines.of",
        "readers.of",
        "readers.ready",
        "plans",
        "secrets.texts",
        "service",
        "signer",
        "states",
        "vault",
        "views",
    }
)
#: Routes that go on after their first command, and why whoever dies there leaves nothing undone: a reaction does the
#: same, or whoever asked comes again until they are answered, or one command or the other is all there is.
GOES_ON = {
    "cancel_build": "close-build",
    "claim_job": "lose-build",
    "create_nats_consumer": "it waits for what is made by itself",
    "finish_job": "close-build",
    "hear_github": "each project's build is asked for by itself, under an id that follows from the message",
    "hear_stripe": "Stripe comes again",
    "heartbeat": "one or the other",
    "import_browser_profile": "it forgets what was refused",
    "logout": "one or the other",
    "note_step": "how far a job is comes again with the next step",
    "open_checkout": "close-checkout",
    "remove_browser_profile": "forget-cookies",
    "replay_webhooks": "each delivery is asked for by itself, under an id that follows from the idempotency key",
    "resolve_title": "resolve-title",
    "validate": "one or the other",
    "verify_email_sign_in": "it is decided again where somebody was faster",
}


def _is_a_read(name: str) -> bool:
    return name in READS or name.partition(".")[0] in READS


def _goes_on(calls: list[str]) -> bool:
    """Whether something may be changed after the first command."""
    return "execute" in calls and not all(map(_is_a_read, calls[calls.index("execute") + 1 :]))


def test_no_route_goes_on_after_its_command_but_for_what_is_done_without_it_too() -> None:
    assert {route.handler_name for route in _ours() if _goes_on(_calls_of(route))} == set(GOES_ON)
    named = {why for why in GOES_ON.values() if " " not in why}
    assert named <= set(REACTIONS)


FIRST = "async def route(ports):\n    await ports.execute(a)\n"
READING = FIRST + "    return await ports.log.state(b)\n"
DOOMED = {
    "a port below another": FIRST + "    await ports.reading.books.put(b)\n",
    "a command for each of several": "async def route(ports):\n    for a in many:\n        await ports.execute(a)\n",
    "several at once": "async def route(ports):\n    await gather(*[ports.execute(a) for a in many])\n",
    "a port that is not waited for": FIRST + "    ports.uses.note(b)\n",
    "a helper": FIRST + "    await then(ports)\n\nasync def then(ports):\n    await ports.blobs.delete(b)\n",
    "what is not of this layer": FIRST + "    await sweep(ports)\n",
}


@pytest.mark.parametrize("source", DOOMED.values(), ids=DOOMED)
def test_the_law_sees_whoever_goes_on(source: str) -> None:
    for text, expected in ((READING, False), (source, True)):
        layer = {"api.made_up": _module(text)}
        assert _goes_on(list(_calls("api.made_up", layer["api.made_up"].functions["route"], layer))) is expected


# --- what is limited is counted --------------------------------------------------------------------------------------

#: How a route spends limits of each sort; those by address are spent before it begins.
SPENT = {
    "subject": "limits.take",
    "both": "limits.take",
    "source": "limits.take_source",
    "failure": "limits.take_failure",
}


def test_every_limit_that_a_route_declares_is_taken_there_and_no_other() -> None:
    limited = 0
    for route in _ours():
        declared = {SPENT[each.by] for each in route.opt.get("rates", ()) if each.by != "address"}
        taken = {each for each in _calls_of(route) if each.startswith("limits.")}
        assert taken == declared, route.handler_name
        limited += bool(declared)
    assert limited > 10
