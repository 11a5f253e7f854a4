"""What a key may do in an orchard."""

from __future__ import annotations

from domain.scopes import Scope

TEND = Scope(name="orchards:tend", says="Plant trees and pick apples")
