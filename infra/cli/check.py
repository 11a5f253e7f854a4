"""`ledgerline check`: what every change must pass."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import click

from infra.cli import DEVELOP, command

ROOT = Path(__file__).resolve().parents[2]

#: What the tests of one file share is started by one worker, and the files that take longest begin first.
_BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")


@command(
    "check", heading=DEVELOP, context_settings={"ignore_unknown_options": True}, options_metavar="[PYTEST ARGUMENTS]..."
)
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED, metavar="")
def check(pytest_arguments: tuple[str, ...]) -> int:
    """Format, lint, types and tests, stopping at the first that fails; types are checked beside the tests."""
    tests = pytest_arguments or ("-n", str(min(4, (os.cpu_count() or 1) + 1)), *_BY_FILE)
    environment = _with_bytecode()
    for each in ("ruff", "format", "--check", "."), ("ruff", "check", "."):
        with _started(each, environment) as tool:
            if tool.wait() != 0:
                return tool.returncode
    return _types_beside_tests(("pytest", *tests), environment)


def _types_beside_tests(tests: tuple[str, ...], environment: Mapping[str, str]) -> int:
    """How both end. Types take one processor for a minute, in which the others would have nothing to do."""
    with tempfile.TemporaryFile() as said, _started(("mypy",), environment, said) as types:
        with _started(tests, environment) as testing:
            if types.wait() != 0:
                testing.send_signal(signal.SIGINT)  # at which pytest stops its servers
            testing.wait()
        said.seek(0)
        print("$ mypy", said.read().decode(), sep="\n", end="", flush=True)
        return types.returncode or testing.returncode


def _started(
    tool: tuple[str, ...], environment: Mapping[str, str], output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """One of our own tools, at the root of the repository."""
    if output is None:
        print(f"$ {shlex.join(tool)}", flush=True)
    return subprocess.Popen(  # noqa: S603 - our own tools
        [sys.executable, "-m", *tool], cwd=ROOT, env=environment, stdout=output, stderr=output
    )


def _with_bytecode() -> dict[str, str]:
    """This environment, in which what is compiled is kept: beside the interpreter where not beside the sources.

    The tests start some two hundred processes, and each would compile all of this anew.
    """
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment.setdefault("PYTHONPYCACHEPREFIX", str(Path(sys.prefix) / "bytecode"))
    return environment
