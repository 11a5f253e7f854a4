"""The reports of sellers and stores as a table: which columns each has, and what they mean.

A report is known by its set of headers, in whatever order; headers are compared without case and doubled spaces.
Sources: files that their users have published, and the vendors' own pages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from msgspec import convert

from domain.catalogue.mappings import DateOrder, Kind
from domain.catalogue.mappings import Mapping as Mapped
from domain.kernel import Value

#: What a column can mean.
Field = Literal[
    "isrc", "isrc_else", "title", "artist", "release", "upc", "store", "country", "units", "amount", "currency",
    "reporting", "reporting_year", "sale", "sale_year", "sale_end", "kind", "void", "date", "spotify", "apple",
    "listeners", "saves",
]  # fmt: skip


@lru_cache(4096)
def plain(header: str) -> str:
    """A header as it is compared."""
    return " ".join(unicodedata.normalize("NFKC", header).replace("\ufeff", "").casefold().split())


class Profile(Value):
    """One kind of report.

    `columns` says which headers each field may have; `required` are those without which it is another report. `also`
    are headers that are known and not kept. A `currency` of None is in a column or is asked for.
    """

    name: str
    kind: Kind
    columns: Mapping[Field, tuple[str, ...]]
    required: tuple[Field, ...]
    also: tuple[str, ...] = ()
    #: Headers that must all be there beside the required fields, to tell this report from its relatives.
    marks: tuple[str, ...] = ()
    currency: str | None = None
    #: How dates with slashes are read; None: it must be asked where the file does not tell.
    date_order: DateOrder | None = None
    #: Where the day of a sale period is always the first, which tells 2015/01/03 (March) from 2015/03/01.
    first_of_month: bool = False
    #: Rows whose field has one of these words are payments to the account holder, and no earnings.
    payouts: Mapping[Field, tuple[str, ...]] = {}
    #: Rows whose field has one of these words belong to a release, not to a recording.
    of_release: Mapping[Field, tuple[str, ...]] = {}
    #: Rows whose field has one of these words are taken back.
    voids: Mapping[Field, tuple[str, ...]] = {}
    #: Whether it is downloaded for any stretch of days, so that two files may have parts of one month.
    of_any_days: bool = False
    #: Where the name of the file tells how long what it sums up was: `28day`, `1year`, `all`.
    stretch_in_name: str | None = None
    #: Where the name of the file has the first and the last day of what it is about.
    period_in_name: str | None = None
    #: What rows above the header tell, by the label that is before it: `Start Date` and then the day.
    preamble: Mapping[Field, tuple[str, ...]] = {}
    #: The store of all rows, where no column has one.
    store: str = ""
    #: What each row of figures over a stretch of time is about.
    about: Literal["recording", "artist", "playlist"] = "recording"
    #: No other headers than the fields': a file with more of them is another report.
    exact: bool = False


def _profile(name: str, kind: Kind, required: str, columns: Mapping[Field, str], **more: object) -> Profile:
    named: dict[Field, tuple[str, ...]] = {
        field: tuple(plain(each) for each in headers.split("|")) for field, headers in columns.items()
    }
    for headers in ("also", "marks"):
        if headers in more:
            more[headers] = tuple(plain(each) for each in str(more[headers]).split("|"))
    if "preamble" in more:
        labels: Mapping[Field, str] = more["preamble"]  # type: ignore[assignment]  # as above
        more["preamble"] = {field: tuple(map(plain, each.split("|"))) for field, each in labels.items()}
    return Profile(name=name, kind=kind, columns=named, required=tuple(required.split()), **more)  # type: ignore[arg-type]  # names of fields, checked by a test


OWN = _profile(
    "own.daily", "plays", "isrc date spotify",
    {"isrc": "isrc", "date": "date", "spotify": "spotify_streams", "apple": "apple_streams"},
)  # fmt: skip

_DISTROKID: dict[Field, str] = {
    "reporting": "Reporting Date", "sale": "Sale Month", "store": "Store", "artist": "Artist", "title": "Title",
    "isrc": "ISRC", "upc": "UPC", "units": "Quantity", "country": "Country of Sale", "amount": "Earnings (USD)",
}  # fmt: skip

PROFILES: tuple[Profile, ...] = (
    OWN,
    _profile(
        "distrokid.bank.v1", "royalties", "reporting sale title isrc units amount",
        _DISTROKID | {"kind": "Song/Album"},
        marks="Song/Album", also="Team Percentage|Songwriter Royalties Withheld",
        currency="USD", date_order="ymd", of_release={"kind": ("album",)},
    ),
    _profile(
        "distrokid.bank.v2", "royalties", "reporting sale title isrc units amount",
        _DISTROKID | {"kind": "Source Type"},
        marks="Date Inserted",
        also="Date Inserted|Team Percentage|Songwriter Royalties Withheld (USD)|Recoup (USD)",
        currency="USD", date_order="ymd", of_release={"kind": ("album",)},
    ),
    _profile(
        "tunecore.sales", "royalties", "sale units amount isrc_else",
        {
            "sale": "Sales Period", "reporting": "Posted Date", "store": "Store Name",
            "country": "Country Of Sale", "artist": "Artist", "kind": "Release Type", "release": "Release Title",
            "title": "Song Title", "upc": "UPC|Optional UPC", "isrc": "Optional ISRC", "isrc_else": "TC Song ID",
            "units": "# Units Sold", "amount": "Total Earned", "currency": "Currency",
        },
        also="Label|Optional UPC|Sales Type|Per Unit Price|Net Sales|Net Sales Currency|Exchange Rate|Commission|"
        "Youtube Video ID|Youtube Policy Type",
        date_order="ymd", first_of_month=True, of_release={"kind": ("album",)},
    ),
    _profile(
        "cdbaby.sales", "royalties", "reporting sale units amount isrc",
        {
            "reporting": "Report Date", "sale": "Sales Date", "units": "Quantity", "amount": "Subtotal",
            "isrc": "Isrc", "upc": "Barcode", "release": "Album Name", "artist": "Artist Name",
            "title": "Track Name", "store": "Partner Name", "kind": "Transaction Type", "country": "Delivery Country",
        },
        marks="CDBabySku", also="Price|CDBabySku", currency="USD", date_order="mdy",
    ),
    _profile(
        "symphonic.royalty", "royalties", "reporting isrc units amount",
        {
            "reporting": "Reporting Period", "release": "Release Name", "upc": "UPC Code", "title": "Track Title",
            "isrc": "ISRC Code", "artist": "Track Artists|Release Artists", "store": "Digital Service Provider",
            "sale": "Activity Period", "country": "Territory", "kind": "Content Type", "void": "Sale or Void",
            "units": "Count", "amount": "Royalty ($US)",
        },
        also="Label|Release Version|Release Artists|Catalogue|Mix Version|Delivery",
        currency="USD", voids={"void": ("void",)},
    ),
    _profile(
        "believe.sales", "royalties", "reporting sale isrc units amount",
        {
            "reporting": "Reporting month|Mois de reporting|Отчетный месяц|Отчётный месяц|Месяц отчета",
            "sale": "Sales Month|Mois de vente|Месяц продажи|Месяц продаж",
            "store": "Platform|Plateforme|Платформа",
            "country": "Country / Region|Country/Region|Pays / Région|Страна / Регион|Страна/Регион",
            "artist": "Artist Name|Nom de l'artiste|Имя исполнителя|Имя артиста|Исполнитель",
            "release": "Release title|Titre de la sortie|Название релиза",
            "title": "Track title|Titre de la piste|Название трека", "upc": "UPC", "isrc": "ISRC",
            "kind": "Sales Type|Тип продажи|Тип продаж", "units": "Quantity|Quantité|Количество",
            "currency": "Client Payment Currency|Devise de paiement du client|Валюта платежа клиента|"
            "Валюта выплаты клиенту|Валюта клиента",
            "amount": "Net Revenue|Revenu net|Чистый доход", "void": "Type|Тип",
        },
        also="Label Name|Nom du label|Название лейбла|Release Catalog nb|Номер релиза по каталогу|"
        "Streaming Subscription Type|Тип подписки|Тип стриминговой подписки|Release type|Тип релиза|Unit Price|"
        "Цена за единицу|Mechanical Fee|Механический сбор|Gross Revenue|Revenu brut|Валовой доход|Общий доход|"
        "Client share rate|Taux de revenu client|Доля клиента|Процент клиента",
        date_order="dmy", payouts={"void": ("payment",)},
    ),
    _profile(
        "orchard.sales", "royalties", "reporting units amount",
        {
            "reporting": "Period|STATEMENT PERIOD", "sale": "Activity Period|ORIGINAL STATEMENT PERIOD",
            "store": "DMS|Retailer|STORE", "country": "Territory|SALE COUNTRY",
            "upc": "Orchard UPC|Manufacturer's UPC|DISPLAY UPC|UPC",
            "artist": "Artist Name|TRACK ARTIST|PRODUCT ARTIST", "release": "Release Name|PRODUCT",
            "title": "Track Name|TRACK", "isrc": "ISRC",
            "units": "Quantity", "kind": "Trans Type",
            "amount": "Label Share Net Receipts|NET SHARE ACCOUNT CURRENCY",
            "currency": "Preferred Currency|ACCOUNT CURRENCY",
        },
        also="Manufacturer's UPC|Label Catalog #|Imprint Label|Volume|Track #|Project Code|Product Code|Unit Price|"
        "Actual Price|Split Rate|CURRENCY CONVERSION RATE|LABEL IMPRINT|SERVICE DETAIL|PRODUCT VERSION|PRODUCT ARTIST|"
        "UPC|GROSS REVENUE ACCOUNT CURRENCY",
    ),
    _profile(
        "fuga.royalty_extended", "royalties", "sale sale_end amount isrc",
        {
            "sale": "Sale Start date", "sale_end": "Sale End date", "store": "DSP", "country": "Territory",
            "upc": "Product UPC", "release": "Product Title", "artist": "Asset Artist|Product Artist",
            "title": "Asset Title", "isrc": "Asset ISRC", "kind": "Asset/Product", "units": "Asset Quantity",
            "amount": "Reported Royalty", "currency": "Currency",
        },
        also="Sale Store Name|Sale Type|Sale User Type|Product Reference|Product Catalog Number|Product Label|"
        "Product Artist|Asset Version|Asset Duration|Asset Reference|Product Quantity|Original Gross Income|"
        "Original currency|Exchange Rate|Converted Gross Income|Contract deal term|Report Run ID|"
        "Report ID|Sale ID",
        of_release={"kind": ("product",)},
    ),
    _profile(
        "landr.sales", "royalties", "reporting sale sale_end isrc units amount",
        {
            "reporting": "Payment Date", "sale": "Start of reporting period", "sale_end": "End of reporting period",
            "store": "Store", "kind": "Store service", "country": "Country of sale or stream", "release": "Album",
            "upc": "UPC", "title": "Track", "isrc": "ISRC", "artist": "Primary artist(s)",
            "units": "Quantity of sales or streams", "amount": "Net earnings (USD)",
        },
        also="Gross earnings (USD)|Share %", currency="USD",
    ),
    _profile(
        "soundcloud.earnings", "royalties", "reporting isrc units amount",
        {
            "reporting": "Accounting Period", "sale": "Reporting Period", "artist": "Artist(s)", "release": "Release",
            "title": "Track", "upc": "UPC", "isrc": "ISRC", "store": "Partner", "country": "Country", "kind": "Type",
            "units": "Units", "amount": "Revenue (USD)",
        },
        marks="Partner", also="Revenue Share (%)|Split Pay Share (%)", currency="USD",
    ),
    _profile(
        "bandcamp.raw", "royalties", "sale units amount title currency",
        {
            "sale": "date", "kind": "item type", "title": "item name", "artist": "artist", "currency": "currency",
            "units": "quantity", "amount": "net amount", "upc": "upc", "isrc": "isrc",
            "country": "country code|country", "void": "paid to",
        },
        marks="bandcamp transaction id",
        also="item price|discount code|sub total|seller tax|marketplace tax|tax rate|tax|shipping|"
        "ship from country name|transaction fee|fee type|item total|amount you received|"
        "bandcamp transaction id|paypal transaction id|"
        "additional fan contribution|collection society share|assessed revenue share|collected revenue share|"
        "sku|catalog number|item url|package|option|ship notes|ship date|country|region/state|region|city|state|"
        "referer|referer url",
        date_order="mdy", store="Bandcamp", of_any_days=True,
        payouts={"kind": ("payout",), "title": ("payout",), "void": ("payout",)},
        of_release={"kind": ("album", "bundle")},
    ),
    _profile(
        "amuse.statement", "royalties", "reporting sale isrc units amount",
        {
            "reporting": "Transaction date", "sale": "Royalty Date", "store": "Service", "upc": "UPC", "isrc": "ISRC",
            "artist": "Artist", "release": "Release", "title": "Track", "units": "Quantity", "amount": "Total",
            "kind": "Source", "void": "Type",
        },
        marks="Royalty Date", also="Amount (before split)|Split", voids={"void": ("debited",)},
    ),
    _profile(
        "imusician.sales", "royalties", "sale reporting isrc units amount",
        {
            "sale": "Sales date", "reporting": "Statement date", "release": "Release title", "upc": "Barcode",
            "isrc": "ISRC", "title": "Track title", "store": "Shop", "kind": "Transaction type", "country": "Country",
            "units": "Quantity", "amount": "Revenue EUR",
        },
        also="Label|Track version", currency="EUR",
    ),
    _profile(
        "zebralution.sales", "royalties", "reporting sale isrc units amount",
        {
            "reporting": "Period", "sale": "Period Sold", "store": "Shop", "artist": "Artist", "title": "Title",
            "isrc": "ISRC", "upc": "EAN", "country": "Country", "units": "Sales", "amount": "Rev.less Publ.EUR",
        },
        also="Provider|Label Order-Nr|Revenue-EUR", currency="EUR",
    ),
    _profile(
        "stem.royalties", "royalties", "sale sale_year amount isrc",
        {
            "sale_year": "report_year", "sale": "report_month", "reporting_year": "ingest_year",
            "reporting": "ingest_month", "store": "platform", "kind": "platform_detail", "isrc": "isrc", "upc": "upc",
            "title": "track_title|title", "artist": "artist", "country": "country|territory", "units": "units|quantity",
            "amount": "net_royalties",
        },
        marks="report_year|ingest_year",
    ),
    _profile(
        "soundrop.sales", "royalties", "store title units amount",
        {
            "store": "Service", "country": "Country", "artist": "Artist", "release": "Release Title",
            "title": "Track Title", "kind": "Format", "units": "Quantity", "isrc": "ISRC", "upc": "UPC",
            "amount": "Amount Due in USD|Net Revenue in USD",
        },
        marks="Channel", also="Channel|Net Revenue in USD", currency="USD",
    ),
    _profile(
        "labelworx.sales", "royalties", "store title isrc units amount",
        {
            "store": "Store Name", "artist": "Track Artist", "title": "Track Title", "isrc": "ISRC", "units": "Qty",
            "amount": "Royalty", "kind": "Sale Type", "upc": "UPC",
        },
        marks="Track Artist", also="Catalog|Value", of_release={"kind": ("release",)},
    ),
    _profile(
        "sonosuite.sales", "royalties", "sale sale_end isrc units amount",
        {
            "sale": "start_date", "sale_end": "end_date", "reporting": "confirmation_report_date|confirmed_date",
            "country": "country", "kind": "type", "units": "units", "amount": "net_total_client_currency",
            "store": "channel", "artist": "display_artist|artist", "release": "release", "upc": "upc",
            "title": "track|track_title", "isrc": "isrc",
        },
        also="id|currency|unit_price|gross_total|other_costs|channel_costs|taxes|net_total|currency_rate|"
        "gross_total_client_currency|other_costs_client_currency|channel_costs_client_currency|taxes_client_currency|"
        "label",
    ),
    _profile(
        "onerpm.sales", "royalties", "reporting sale units amount currency",
        {
            "reporting": "Accounted Date", "sale": "Transaction Month", "title": "Track Title|Video Title|Title",
            "artist": "Artists", "release": "Product Title", "isrc": "ISRC", "isrc_else": "ID", "upc": "UPC",
            "store": "Store", "country": "Territory", "kind": "Product Type|Sale Type", "units": "Quantity",
            "amount": "Net", "currency": "Currency",
        },
        also="Sale Type|Video ID|Channel ID|Parent ID|Label|Gross|Fees|% Share|Share Type|Receiver Name|Payer Name",
        of_release={"kind": ("album", "youtube video", "video")},
    ),
    _profile(
        "beatport.sales", "royalties", "isrc amount",
        {
            "upc": "PRODUCT_UPC", "isrc": "TRACK_ISRC_CODE", "kind": "DELIVERY", "amount": "NET_TOTAL",
            "country": "TERRITORY", "units": "QUANTITY|UNITS", "title": "TRACK_TITLE|TRACK_NAME",
            "artist": "TRACK_ARTIST|TRACK_ARTISTS", "currency": "CURRENCY", "sale": "SALE_DATE|PERIOD",
        },
        marks="PRODUCT_UPC", also="TRACK_ID", store="Beatport",
    ),
    _profile(
        "apple.financial", "royalties", "units amount country",
        {
            "sale": "Start Date", "sale_end": "End Date", "upc": "UPC", "isrc": "ISRC|ISRC/ISBN",
            "title": "Title|Content Title|Item Title", "artist": "Artist|Artist/Show/Developer/Author|Item Artist",
            "country": "Country Of Sale|Storefront Name", "units": "Quantity|Total Royalty Bearing Plays",
            "amount": "Extended Partner Share|Net Royalty Total", "currency": "Partner Share Currency|Currency",
            "kind": "Product Type Identifier|Membership Type|Report Type", "void": "Sales or Return|Sale or Return",
        },
        also="Vendor Identifier|Partner Share|Apple Identifier|Label/Studio/Network/Developer/Publisher|"
        "Label/Studio/Network|Grid|ISAN/Other Identifier|Pre-order Flag|Promo Code|Customer Price|Customer Currency|"
        "Report Type|Membership Type|Net Royalty|Vendor Name",
        date_order="mdy", voids={"void": ("r",)}, store="Apple",
        preamble={"sale": "Start Date", "sale_end": "End Date"},
    ),
    _profile(
        "youtube.asset", "royalties", "units amount title",
        {
            "sale": "Day|Month", "country": "Country", "title": "Asset Title", "artist": "Artist", "isrc": "ISRC",
            "upc": "UPC", "release": "Album", "kind": "Adjustment Type", "units": "Owned Views",
            "amount": "Partner Revenue",
        },
        marks="Asset ID",
        also="Asset ID|Asset Labels|Asset Channel ID|Asset Type|Custom ID|GRid|Label|Administer Publish Rights|"
        "YouTube Revenue Split|YouTube Revenue Split : Auction|YouTube Revenue Split : Reserved|"
        "YouTube Revenue Split : Partner Sold YouTube Served|YouTube Revenue Split : Partner Sold Partner Served|"
        "Partner Revenue : Auction|Partner Revenue : Reserved|Partner Revenue : Partner Sold YouTube Served|"
        "Partner Revenue : Partner Sold Partner Served",
        store="YouTube", period_in_name=r"_(\d{8})_(\d{8})(?=_|\.|$)",
    ),
    _profile(
        "spotify.timeline", "plays", "date spotify", {"date": "date", "spotify": "streams"}, exact=True,
    ),
    _profile(
        "spotify.songs", "songs", "title listeners spotify saves",
        {"title": "song", "listeners": "listeners", "spotify": "streams", "saves": "saves"},
        also="release_date", stretch_in_name=r"-songs-(\d{1,3})(day|year)s?(?=\W|$)",
    ),
    _profile(
        "spotify.audience", "songs", "date listeners spotify",
        {"date": "date", "listeners": "listeners", "spotify": "streams", "saves": "saves"},
        marks="followers",
        also="monthly listeners|monthly active listeners|super listeners|playlist adds|followers", about="artist",
    ),
    _profile(
        "spotify.playlists", "songs", "title artist listeners spotify",
        {"title": "title", "artist": "author", "listeners": "listeners", "spotify": "streams"},
        also="date_added", about="playlist",
    ),
    _profile(
        "apple.songs", "songs", "title spotify",
        {"title": "Song|Song Title|Morceau|Titre", "spotify": "Plays|Écoutes"},
        also="Avg. Daily Listeners|Average Daily Listeners|Avg Daily Listeners|Moy. d'auditeurs journalière|"
        "Moy. d'auditeurs|Shazams|Shazam Count|Number of Shazams|Shazam|Nombre de Shazam|Radio Spins|"
        "Purchases|Song Purchases|Achats",
        period_in_name=r"_(\d{4}-?\d\d-?\d\d)_(\d{4}-?\d\d-?\d\d)(?=_|\.|$)",
    ),
)  # fmt: skip


def mapped(name: str, mapping: Mapped) -> Profile:
    """A report as its people have said it reads: known by the headers that they named, which must all be there."""
    columns = {field: tuple(map(plain, headers)) for field, headers in mapping.columns.items()}
    return Profile(
        name=name,
        kind=mapping.kind,
        columns=convert(columns, dict[Field, tuple[str, ...]]),
        required=convert(tuple(columns), tuple[Field, ...]),
        currency=mapping.currency,
        date_order=mapping.date_order,
        store=mapping.store or "",
        of_any_days="reporting" not in columns,
    )


class Match(NamedTuple):
    """A report that was recognised: where each field is, and which headers it does not know."""

    profile: Profile
    #: Of each field, the places of its columns, the best first.
    places: dict[Field, tuple[int, ...]]
    unknown: tuple[str, ...]


def match(cells: Sequence[str], profiles: Iterable[Profile] = PROFILES) -> Match | None:
    """The report that a row of headers begins, the one that knows most of them; None when it is none."""
    found = [each for profile in profiles if (each := _fits(cells, profile)) is not None]
    return max(found, key=lambda each: (-len(each.unknown), len(each.places)), default=None)


def _fits(cells: Sequence[str], profile: Profile) -> Match | None:
    headers = [plain(each) for each in cells]
    there = set(headers)
    if not there.issuperset(profile.marks):
        return None
    places: dict[Field, tuple[int, ...]] = {}
    for field, names in profile.columns.items():
        found = tuple(headers.index(name) for name in names if name in there)
        if found:
            places[field] = found
    if not all(field in places for field in profile.required):
        return None
    known = {name for names in profile.columns.values() for name in names} | set(profile.also)
    if profile.exact and not there <= known:
        return None
    unknown = tuple(cells[at] for at, each in enumerate(headers) if each and each not in known)
    return Match(profile, places, unknown)


def nearly(cells: Sequence[str], profiles: Iterable[Profile] = PROFILES) -> tuple[Profile, list[str]] | None:
    """The report that these headers come nearest to, and what of it is missing; None when they resemble none."""
    headers = {plain(each) for each in cells}
    best: tuple[float, Profile, list[str]] | None = None
    for profile in profiles:
        needed = [*((name,) for name in profile.marks), *(profile.columns[field] for field in profile.required)]
        missing = [names[0] for names in needed if not headers.intersection(names)]
        known = {name for names in profile.columns.values() for name in names} | set(profile.also)
        share = len(headers & known) / max(len(known), 1)
        if missing and len(missing) <= 2 and share > 0.4 and (best is None or share > best[0]):
            best = (share, profile, missing)
    return None if best is None else (best[1], best[2])


#: Columns about whoever bought something: they are dropped before anything is stored.
_PERSONAL = re.compile(
    r"(?i)(?:\b|_)e-?mails?\b|\b(buyer|customer|fan)\b|^user$|\bphone\b|"
    r"\bship(ping)? ?(to|address|street|name|city|zip|state|from)|"
    r"\b(street|postal|billing|delivery) ?(address|code)|\bzip\b|address|\bip\b|user ?name|\bpaid to\b.*@"
)
#: What sounds like them and is none.
_IMPERSONAL = re.compile(r"(?i)\bcustomer ?(price|currency|type)\b|additional fan contribution")


def personal(cells: Sequence[str]) -> set[int]:
    """The places of columns that are about buyers."""
    return {at for at, each in enumerate(cells) if _PERSONAL.search(each) and not _IMPERSONAL.search(each)}
