"""What a key may do with webhooks."""

from __future__ import annotations

from domain.scopes import Scope

MANAGE = Scope(name="webhooks:manage", says="Manage endpoints, their secrets and deliveries", place=4)
