"""What of beats lies in the object store."""

from __future__ import annotations

from typing import Any

from tests.outside import Known

OBJECTS = ("beats/w1/beat-1/1/a.mp3", "beats/w1/beat-1/1/a.json")


def outside(_: Known) -> dict[type, Any]:
    """Nobody: the scene has a band and a provider."""
    return {}
