"""What a process of the service imports before it works: who forks from a process that has read this has it already."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

# Before anybody counts the processors for it; see `Process.start`.
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import uvicorn  # noqa: F401
import uvloop  # noqa: F401

from api.app import create_app
from domain import discovery
from infra import processes  # noqa: F401
from infra.container import load_everything

load_everything()
discovery.modules("adapters", saying="@provides")


async def _nobody(kind: type[Any], /) -> Any:
    return None


# What the framework works out of every route's signature, it remembers.
asyncio.run(create_app(_nobody))
gc.freeze()
