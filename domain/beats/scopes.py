"""What a key may do with beats."""

from __future__ import annotations

from domain.scopes import Scope

READ = Scope(name="beats:read", says="Read beats and fetch their files", place=11)
WRITE = Scope(name="beats:write", says="Have beats made, and change them", place=12)
