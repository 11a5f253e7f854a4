"""What a key may read of what a workspace uses and pays."""

from __future__ import annotations

from domain.scopes import Scope

USAGE = Scope(name="usage:read", says="Read what the workspace has used", place=5)
