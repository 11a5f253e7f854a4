"""What a key may do in the catalogue."""

from __future__ import annotations

from domain.scopes import Scope

READ = Scope(name="catalogue:read", says="Read the catalogue and its plays", place=6)
DISTRIBUTE = Scope(name="distribution:write", says="Keep browser profiles and prepare releases", place=10)
WRITE = Scope(name="catalogue:write", says="Add and change tracks, import plays and royalties", place=9)
