"""`ledgerline check`: what every change must pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from infra.cli import DEVELOP, command


@command(
    "check", heading=DEVELOP, context_settings={"ignore_unknown_options": True}, options_metavar="[PYTEST ARGUMENTS]..."
)
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED, metavar="")
def check(pytest_arguments: tuple[str, ...]) -> int:
    """Format, lint, types and tests, stopping at the first that fails."""
    root = Path(__file__).resolve().parents[2]
    tests = pytest_arguments or ("-n", str(min(4, (os.cpu_count() or 1) + 1)), "--dist", "worksteal")
    environment = _with_bytecode()
    for each in (("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy",), ("pytest", *tests)):
        print(f"$ {' '.join(each)}", flush=True)
        command = [sys.executable, "-m", *each]
        result = subprocess.run(command, cwd=root, env=environment, check=False)  # noqa: S603 - our own tools
        if result.returncode != 0:
            return result.returncode
    return 0


def _with_bytecode() -> dict[str, str]:
    """This environment, in which what is compiled is kept: beside the interpreter where not beside the sources.

    The tests start some two hundred processes, and each would compile all of this anew.
    """
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment.setdefault("PYTHONPYCACHEPREFIX", str(Path(sys.prefix) / "bytecode"))
    return environment
