"""All roles in one process, for tests: `python -m tests.journeys.whole` with the settings in the environment.

Who makes beats is a process of its own, as below `up`: see the fixture `generations`.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from infra import processes, telemetry
from infra.cli.roles import run_role
from infra.settings import Operation, Settings, read_settings, require_all


async def everything(settings: Settings, stop: asyncio.Event, ready: processes.Ready) -> None:
    """Every role at once; when one falls over, all of them do."""
    states: dict[str, bool] = {}

    def say(name: str, is_ready: bool) -> None:
        states[name] = is_ready
        ready(all(states.get(each, False) for each in roles if each != "serve"))

    roles: dict[str, processes.Role] = {
        "serve": processes.serve,
        "relay": processes.relay,
        "project": processes.project,
        "react": partial(processes.react, without=("analyses", "generations")),
        "analyses": partial(processes.react, only=("analyses",)),
        "tick": processes.tick,
    }
    tasks = [asyncio.create_task(role(settings, stop, partial(say, name)), name=name) for name, role in roles.items()]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    await asyncio.gather(*tasks)


def main() -> int:
    """Run until a signal."""
    settings = read_settings()
    telemetry.configure("whole", settings[Operation].log_level, settings[Operation].log_format)
    return run_role("whole", everything, require_all(settings))


if __name__ == "__main__":
    sys.exit(main())
