"""What the catalogue needs."""

from __future__ import annotations

from dataclasses import dataclass

import commands.catalogue.ports
from adapters.catalogue.baserow import Baserow, TableSecrets
from adapters.catalogue.books import Books
from adapters.catalogue.charts import Charts
from adapters.catalogue.cookies import SealedCookies
from adapters.catalogue.media import Media
from adapters.catalogue.outlines import Outlines
from adapters.catalogue.plays import Plays
from adapters.catalogue.receiving import Receiving
from adapters.readmodels.views import Views
from adapters.vault import Vault
from api.kernel import Execute
from commands.catalogue.settings import Imports, Releases
from commands.kernel import Now
from commands.ports import Web


@dataclass(frozen=True)
class Ports:
    """Commands, read models, the time and new ids."""

    execute: Execute
    views: Views
    now: Now
    vault: Vault
    books: Books
    plays: Plays
    charts: Charts
    receiving: Receiving
    media: Media
    outlines: Outlines
    releases: Releases
    reading: commands.catalogue.ports.Ports
    cookies: SealedCookies
    tables: Baserow
    secrets: TableSecrets
    web: Web
    settings: Imports
