"""What a key may do with analyses and with what is stored for them."""

from __future__ import annotations

from domain.scopes import Scope

CREATE = Scope(name="analyses:create", says="Ask for analyses", place=1)
READ = Scope(name="analyses:read", says="Read analyses and what was found", place=2)
STORE = Scope(name="storage:write", says="Upload recordings", place=3)
