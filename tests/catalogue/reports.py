"""Reports as sellers send them: verbatim headers, rows made up, and what reading them gives."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from adapters.catalogue.files import tables
from adapters.catalogue.reading import Beside, Reading, Titles, locate
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
    "stem.royalties": "report_year,report_month,ingest_year,ingest_month,platform,platform_detail,isrc,upc,"
    "net_royalties",
    "soundrop.sales": "Service, Channel, Country, Artist, Release Title, Track Title, Format, Quantity, "
    "Net Revenue in USD, Amount Due in USD",
    "labelworx.sales": "Store Name, Track Artist, Track Title, ISRC, Catalog, Qty, Royalty, Value, Sale Type",
    "sonosuite.sales": "id,start_date,end_date,confirmation_report_date,country,currency,type,units,unit_price,"
    "gross_total,other_costs,channel_costs,taxes,net_total,currency_rate,gross_total_client_currency,other_costs_client_currency,"
    "channel_costs_client_currency,net_total_client_currency,channel,label,artist,release,upc,track_title,isrc",
    "onerpm.sales": "Track Title, Product Title, Artists, Product Type, ISRC, UPC, Store, Territory, Sale Type, "
    "Transaction Month, Accounted Date, Currency, Quantity, Net",
    "beatport.sales": "PRODUCT_UPC, TRACK_ISRC_CODE, TRACK_ID, DELIVERY, NET_TOTAL, TERRITORY",
    "apple.financial": "Start Date, End Date, UPC, ISRC/ISBN, Vendor Identifier, Quantity, Partner Share, "
    "Extended Partner Share, Partner Share Currency, Sales or Return, Apple Identifier, Artist/Show/Developer/Author, "
    "Title, Label/Studio/Network/Developer/Publisher, Grid, Product Type Identifier, ISAN/Other Identifier, "
    "Country Of Sale, Pre-order Flag, Promo Code, Customer Price, Customer Currency",
    "youtube.asset": "Adjustment Type, Day, Country, Asset ID, Asset Title, Asset Labels, Asset Channel ID, "
    "Asset Type, Custom ID, ISRC, UPC, GRid, Artist, Album, Label, Administer Publish Rights, Owned Views, "
    "YouTube Revenue Split : Auction, YouTube Revenue Split : Reserved, "
    "YouTube Revenue Split : Partner Sold YouTube Served, YouTube Revenue Split : Partner Sold Partner Served, "
    "YouTube Revenue Split, Partner Revenue : Auction, Partner Revenue : Reserved, "
    "Partner Revenue : Partner Sold YouTube Served, Partner Revenue : Partner Sold Partner Served, Partner Revenue",
    "spotify.timeline": "date,streams",
    "spotify.songs": "song,listeners,streams,saves,release_date",
    "spotify.audience": "date,listeners,monthly listeners,monthly active listeners,super listeners,streams,"
    "playlist adds,saves,followers",
    "spotify.playlists": "title,author,listeners,streams,date_added",
    "apple.songs": "Song,Plays,Average Daily Listeners,Shazams,Radio Spins,Purchases",
}


def columns(source: str) -> list[str]:
    """The headers of a source, one by one."""
    return [each.strip() for each in HEADERS[source].split(",")]


def table(source: str, *rows: dict[str, str], delimiter: str = ",", end: str = "\n", header: Sequence[str] = ()) -> str:
    """A report with these cells, all others empty."""
    names = list(header) or columns(source)
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    return "".join(delimiter.join(line) + end for line in lines)


class Line(NamedTuple):
    """A royalty line with what is written beside it; artist and title of what waits for a person."""

    isrc: str | None
    upc: str | None
    artist: str | None
    title: str | None
    store: str | None
    country: str | None
    kind: str | None
    units: str | None
    currency: str
    amount: str


class Read(NamedTuple):
    """What reading gave."""

    report: Report
    rows: list[list[str]]
    royalties: list[Line]
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
        files = [io.BytesIO() for _ in Beside._fields]
        beside = Beside(*files)
        said = Options(**options)
        located = locate(tables(path, name, Path(directory), said.encoding))
        reading = Reading(
            located, said, latest=TODAY, beside=beside, filename=name, titles=lambda: titles or Titles([])
        )
        reading.ask()
        rows = _cells(b"".join(reading.lines()))
        odd, subjects, places = (_cells(file.getvalue()) for file in files)
        titles_of = list(reading.titles)
        royalties = []
        for row in rows if reading.profile.kind == "royalties" else []:
            isrc, upc, title = map(_text, subjects[int(row[3])][1:])
            artist, song = (None, None) if title is None else titles_of[int(title)]
            store, country, kind = map(_text, places[int(row[4])][1:])
            royalties.append(Line(isrc, upc, artist, song, store, country, kind, _text(row[5]), row[6], row[7]))
        return Read(
            reading.report(reading.tally(), [], 0),
            rows,
            royalties,
            [(int(note[0]), note[1], note[2]) for note in odd],
            list(reading.blocks),
        )


def _cells(lines: bytes) -> list[list[str]]:
    return [line.split("\t") for line in lines.decode().splitlines()]


def _text(cell: str) -> str | None:
    return None if cell == "\\N" else cell
