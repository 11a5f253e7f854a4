"""What a key may do with licences."""

from __future__ import annotations

from domain.scopes import Scope

MANAGE = Scope(name="licences:manage", says="Make and revoke activation keys", place=8)
