"""Reports as sellers send them: verbatim headers, rows made up, and what reading them gives."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from adapters.catalogue.files import tables
from adapters.catalogue.reading import Reading, Titles, locate
from domain.catalogue.imports import Options, Report

TODAY = date(2026, 11, 28)

BANK_1 = (
    "Reporting Date, Sale Month, Store, Artist, Title, ISRC, UPC, Quantity, Team Percentage, Song/Album, "
    "Country of Sale, Songwriter Royalties Withheld, Earnings (USD)"
)
#: Each source's headers as its files have them.
HEADERS: dict[str, str] = {
    "own.daily": "isrc,date,spotify_streams,apple_streams",
    "distrokid.bank.v1": BANK_1,
    "distrokid.bank.v2": "Date Inserted, Reporting Date, Sale Month, Store, Artist, Title, ISRC, UPC, Quantity, "
    "Team Percentage, Source Type, Country of Sale, Songwriter Royalties Withheld (USD), "
    "Earnings (USD), Recoup (USD)",
    "tunecore.sales": "Sales Period, Posted Date, Store Name, Country Of Sale, Artist, Release Type, Release "
    "Title, Song Title, Label, UPC, Optional UPC, TC Song ID, Optional ISRC, Sales Type, # "
    "Units Sold, Per Unit Price, Net Sales, Net Sales Currency, Exchange Rate, Total Earned, "
    "Currency, Commission, Youtube Video ID, Youtube Policy Type",
    "cdbaby.sales": "Report Date, Sales Date, Quantity, Price, Subtotal, Isrc, Barcode, CDBabySku, Album "
    "Name, Artist Name, Track Name, Partner Name, Transaction Type, Delivery Country",
    "symphonic.royalty": "Reporting Period, Label, Release Name, Release Version, Release Artists, UPC Code, "
    "Catalogue, Track Title, Mix Version, ISRC Code, Track Artists, Digital Service Provider, "
    "Activity Period, Territory, Delivery, Content Type, Sale or Void, Count, Royalty ($US)",
    "believe.sales": "Reporting month, Sales Month, Platform, Country / Region, Label Name, Artist Name, "
    "Release title, Track title, UPC, ISRC, Release Catalog nb, Streaming Subscription Type, "
    "Release type, Sales Type, Quantity, Client Payment Currency, Unit Price, Mechanical Fee, "
    "Gross Revenue, Client share rate, Net Revenue",
    "orchard.sales": "Period, Activity Period, DMS, Territory, Orchard UPC, Manufacturer's UPC, Label Catalog "
    "#, Imprint Label, Artist Name, Release Name, Track Name, ISRC, Volume, Track #, "
    "Quantity, Trans Type, Label Share Net Receipts, Preferred Currency",
    "fuga.royalty_extended": "Sale Start date, Sale End date, DSP, Sale Store Name, Sale Type, Sale User Type, "
    "Territory, Product UPC, Product Reference, Product Catalog Number, Product Label, "
    "Product Artist, Product Title, Asset Artist, Asset Title, Asset Version, Asset Duration, "
    "Asset ISRC, Asset Reference, Asset/Product, Product Quantity, Asset Quantity, Original "
    "Gross Income, Original currency, Exchange Rate, Converted Gross Income, Contract deal "
    "term, Reported Royalty, Currency, Report Run ID, Report ID, Sale ID",
    "landr.sales": "Payment Date, Start of reporting period, End of reporting period, Store, Store service, "
    "Country of sale or stream, Album, UPC, Track, ISRC, Primary artist(s), Quantity of sales "
    "or streams, Gross earnings (USD), Net earnings (USD), Share %",
    "soundcloud.earnings": "Reporting Period, Accounting Period, Artist(s), Release, Track, UPC, ISRC, Partner, "
    "Country, Type, Units, Revenue (USD), Revenue Share (%), Split Pay Share (%)",
    "amuse.statement": "Transaction date, Type, Source, Royalty Date, Service, UPC, ISRC, Artist, Release, "
    "Track, Quantity, Amount (before split), Split, Total",
    "imusician.sales": "Sales date, Statement date, Release title, Barcode, Label, ISRC, Track title, Track "
    "version, Shop, Transaction type, Country, Quantity, Revenue EUR",
    "zebralution.sales": "Period, Period Sold, Shop, Provider, Artist, Title, ISRC, EAN, Label Order-Nr, Country, "
    "Sales, Revenue-EUR, Rev.less Publ.EUR",
    "bandcamp.raw": "date,paid to,item type,item name,artist,currency,item price,quantity,discount code,sub "
    "total,transaction fee,fee type,item total,amount you received,bandcamp transaction "
    "id,paypal transaction id,net amount",
    "spotify.timeline": "date,streams",
    "spotify.songs": "song,listeners,streams,saves,release_date",
}


def columns(source: str) -> list[str]:
    """The headers of a source, one by one."""
    return [each.strip() for each in HEADERS[source].split(",")]


def table(source: str, *rows: dict[str, str], delimiter: str = ",", end: str = "\n", header: Sequence[str] = ()) -> str:
    """A report with these cells, all others empty."""
    names = list(header) or columns(source)
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    return "".join(delimiter.join(line) + end for line in lines)


class Read(NamedTuple):
    """What reading gave."""

    report: Report
    rows: list[list[str]]
    odd: list[tuple[int, str, str]]
    blocks: list[tuple[date, date, date]]

    @property
    def counted(self) -> dict[str, Any]:
        """How many rows were accepted, rejected and queued, and what was left alone."""
        counts = self.report.counts
        return {"ok": counts.accepted, "bad": counts.rejected, "queued": counts.queued, **counts.ignored}


def read(content: str | bytes, *, name: str = "report.csv", titles: Titles | None = None, **options: Any) -> Read:
    """Read a report as an import does, up to the books."""
    data = content.encode() if isinstance(content, str) else content
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        path.write_bytes(data)
        odd = io.BytesIO()
        said = Options(**options)
        located = locate(tables(path, name, Path(directory), said.encoding))
        reading = Reading(located, said, latest=TODAY, odd=odd, titles=lambda: titles or Titles([]))
        reading.ask()
        lines = b"".join(reading.lines()).decode().splitlines()
        notes = [line.split("\t") for line in odd.getvalue().decode().splitlines()]
        return Read(
            reading.report(reading.tally(), [], 0),
            [line.split("\t") for line in lines],
            [(int(note[0]), note[1], note[2]) for note in notes],
            list(reading.blocks),
        )
