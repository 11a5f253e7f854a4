"""What a key may do with projects and their builds."""

from __future__ import annotations

from domain.scopes import Scope

WRITE = Scope(name="builds:write", says="Ask for builds of plug-ins, and keep their projects", place=7)
