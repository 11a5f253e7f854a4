"""What a key may read of what was done."""

from __future__ import annotations

from domain.scopes import Scope

EVENTS = Scope(name="events:read", says="Read the audit and follow events", place=9)
