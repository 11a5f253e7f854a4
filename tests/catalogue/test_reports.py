"""What sellers really send: known by its headers, read whatever its bytes, and every odd row told for what it is."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from datetime import date
from typing import Any

import pytest

from adapters.catalogue.files import Unreadable
from adapters.catalogue.profiles import PROFILES, match, personal
from adapters.catalogue.reading import Asks, Inconsistent, Titles
from adapters.catalogue.words import Period, amount, count, inert, period
from tests.catalogue.reports import HEADERS, columns, read, table

ISRC = "QZABC2300001"
BANK = {
    "Reporting Date": "2023-05-01", "Sale Month": "2023-02", "Store": "Spotify", "Artist": "Beyoncé", "Title": "Song",
    "ISRC": ISRC, "UPC": "123456789012", "Quantity": "10", "Song/Album": "Song", "Country of Sale": "US",
    "Earnings (USD)": "0.0123456789",
}  # fmt: skip


def bank(*rows: dict[str, str], **how: Any) -> str:
    return table("distrokid.bank.v1", *({**BANK, **row} for row in rows), **how)


# --- known by its headers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", HEADERS)
def test_a_report_is_known_by_its_headers_in_whatever_order(source: str) -> None:
    names = columns(source)
    random.Random(7).shuffle(names)
    found = match([each.upper() for each in names])

    assert found is not None
    assert found.profile.name == source
    assert found.unknown == ()


def test_every_kind_of_report_has_headers_here() -> None:
    assert {each.name for each in PROFILES} == set(HEADERS)
    for each in PROFILES:
        assert set(each.required) <= set(each.columns), each.name
        assert {*each.payouts, *each.of_release, *each.voids} <= set(each.columns), each.name


def test_unknown_columns_are_named_and_a_missing_one_too() -> None:
    found = read(table("own.daily", {"isrc": ISRC, "date": "2024-01-01", "spotify_streams": "1"},
                       header=[*columns("own.daily"), "mood"]))  # fmt: skip
    assert found.report.unknown_columns == ("mood",)
    assert "unknown_columns" in found.report.warnings
    with pytest.raises(Unreadable, match=r"distrokid\.bank\.v1.*earnings \(usd\)"):
        read(bank({}, header=[each for each in columns("distrokid.bank.v1") if each != "Earnings (USD)"]))


FULL: dict[str, dict[str, str]] = {
    "distrokid.bank.v1": BANK,
    "distrokid.bank.v2": {**BANK, "Date Inserted": "2023-05-02", "Source Type": "Song"},
    "tunecore.sales": {
        "Sales Period": "2023-02-01", "Posted Date": "2023-05-01", "Store Name": "Spotify", "Country Of Sale": "US",
        "Song Title": "Song", "Optional ISRC": ISRC, "# Units Sold": '"1,200"', "Total Earned": "0.0123456789",
        "Currency": "USD",
    },
    "cdbaby.sales": {
        "Report Date": "5/1/2023 12:00:00 AM", "Sales Date": "02/28/2023", "Quantity": "10",
        "Subtotal": "0.0123456789", "Isrc": ISRC.lower(), "Partner Name": "Spotify", "Delivery Country": "US",
    },
    "symphonic.royalty": {
        "Reporting Period": "MAY-23", "ISRC Code": ISRC, "Count": "10", "Royalty ($US)": "0.0123456789",
        "Digital Service Provider": "Spotify", "Activity Period": "February 2023", "Territory": "US",
    },
    "believe.sales": {
        "Reporting month": "2023/05/01", "Sales Month": "2023/02/01", "Platform": "Spotify", "ISRC": ISRC,
        "Quantity": "10", "Client Payment Currency": "USD", "Net Revenue": "0.0123456789", "Country / Region": "US",
    },
    "orchard.sales": {
        "Period": "2023M05", "Activity Period": "2023M02", "DMS": "Spotify", "Territory": "US", "ISRC": ISRC,
        "Quantity": "10", "Label Share Net Receipts": "0.0123456789", "Preferred Currency": "USD",
    },
    "fuga.royalty_extended": {
        "Sale Start date": "2023-02-01", "Sale End date": "2023-02-28", "DSP": "Spotify", "Territory": "US",
        "Asset ISRC": ISRC, "Asset Quantity": "10", "Reported Royalty": "0.0123456789", "Currency": "USD",
        "Report Run ID": "17", "Asset/Product": "Asset",
    },
    "landr.sales": {
        "Payment Date": "2023-05-01", "Start of reporting period": "2023-02-01",
        "End of reporting period": "2023-02-28", "Store": "Spotify", "ISRC": ISRC,
        "Quantity of sales or streams": "10", "Net earnings (USD)": "0.0123456789",
        "Country of sale or stream": "US",
    },
    "soundcloud.earnings": {
        "Reporting Period": "2023-02", "Accounting Period": "2023-05", "ISRC": ISRC, "Partner": "Spotify",
        "Units": "10", "Revenue (USD)": "0.0123456789", "Country": "US",
    },
    "amuse.statement": {
        "Transaction date": "2023-05-01", "Royalty Date": "2023-02", "Service": "Spotify", "ISRC": ISRC,
        "Quantity": "10", "Total": "0.0123456789", "Type": "credited",
    },
    "imusician.sales": {
        "Sales date": "2023-02", "Statement date": "2023-05-01", "ISRC": ISRC, "Shop": "Spotify", "Country": "US",
        "Quantity": "10", "Revenue EUR": "0.0123456789",
    },
    "zebralution.sales": {
        "Period": "2023-05", "Period Sold": "2023-02", "Shop": "Spotify", "ISRC": ISRC, "Sales": "10",
        "Rev.less Publ.EUR": "0.0123456789", "Country": "US",
    },
    "stem.royalties": {
        "report_year": "2023", "report_month": "2", "ingest_year": "2023", "ingest_month": "5", "platform": "Spotify",
        "isrc": ISRC, "net_royalties": "0.0123456789",
    },
    "soundrop.sales": {
        "Service": "Spotify", "Country": "US", "Track Title": "Song", "Quantity": "10",
        "Amount Due in USD": "0.0123456789",
    },
    "labelworx.sales": {
        "Store Name": "Spotify", "Track Title": "Song", "ISRC": ISRC, "Qty": "10", "Royalty": "0.0123456789",
        "Value": "1.5", "Sale Type": "Track",
    },
    "sonosuite.sales": {
        "start_date": "2023-02-01", "end_date": "2023-02-28", "confirmation_report_date": "2023-05-01",
        "country": "US", "currency": "GBP", "units": "10", "net_total_client_currency": "0.0123456789",
        "channel": "Spotify", "isrc": ISRC,
    },
    "onerpm.sales": {
        "Track Title": "Song", "Product Type": "Track", "ISRC": ISRC, "Store": "Spotify", "Territory": "US",
        "Transaction Month": "2023-02", "Accounted Date": "2023-05-01", "Currency": "USD", "Quantity": "10",
        "Net": "0.0123456789",
    },
    "beatport.sales": {"TRACK_ISRC_CODE": ISRC, "NET_TOTAL": "0.0123456789", "TERRITORY": "USA"},
    "apple.financial": {
        "Start Date": "02/01/2023", "End Date": "02/28/2023", "ISRC/ISBN": ISRC, "Quantity": "10",
        "Partner Share": "0.00123456789", "Extended Partner Share": "0.0123456789", "Partner Share Currency": "USD",
        "Sales or Return": "S", "Country Of Sale": "US",
    },
    "youtube.asset": {
        "Day": "20230214", "Country": "US", "Asset ID": "A1", "Asset Title": "Song", "ISRC": ISRC, "Owned Views": "10",
        "YouTube Revenue Split": "9.99", "Partner Revenue": "0.0123456789",
    },
}  # fmt: skip
#: Those that do not say themselves what they are about, and those that do not say when they were reported.
UNDATED = {"soundrop.sales", "labelworx.sales", "beatport.sales"}
UNREPORTED = {*UNDATED, "fuga.royalty_extended", "apple.financial", "youtube.asset"}


@pytest.mark.parametrize("source", FULL)
def test_money_units_and_periods_of_every_seller(source: str) -> None:
    said: dict[str, Any] = (
        {"period_start": date(2023, 2, 1), "period_end": date(2023, 2, 28)} if source in UNDATED else {}
    )
    found = read(table(source, FULL[source]), currency="USD", titles=Titles([(ISRC, "", "Song")]), **said)

    assert found.odd == []
    assert found.report.source == source
    currency = "EUR" if "EUR" in HEADERS[source] else "USD"
    assert found.report.totals == {currency: "0.0123456789"}
    assert found.report.periods == ("2023-02",)
    [row] = found.royalties
    assert row.isrc == ISRC
    assert row.units == {"tunecore.sales": "1200", "stem.royalties": None, "beatport.sales": None}.get(source, "10")
    stores = {"apple.financial": "Apple", "youtube.asset": "YouTube", "beatport.sales": "Beatport"}
    assert row.store == stores.get(source, "Spotify")
    [(statement, start, end)] = found.blocks
    assert (start, end) == (date(2023, 2, 1), date(2023, 2, 28))
    assert statement == (date(2023, 2, 1) if source in UNREPORTED else date(2023, 5, 1))


def test_bandcamp_says_who_bought_and_pays_out() -> None:
    sale = {"date": "1/2/20 4:49am", "paid to": "me", "item type": "track", "item name": "Song", "artist": "A",
            "currency": "USD", "quantity": "1", "net amount": "0.85"}  # fmt: skip
    payout = sale | {"item type": "payout", "net amount": "-0.85"}
    found = read(table("bandcamp.raw", sale, payout).encode("utf-16"), titles=Titles([(ISRC, "A", "SONG")]))

    assert found.counted == {"ok": 1, "bad": 0, "queued": 0, "payout_row": 1}
    assert found.report.totals == {"USD": "0.85"}
    # It is downloaded for whatever days somebody chooses, so each day is compared by itself.
    assert found.blocks == [(date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 2))]
    assert found.report.periods == ("2020-01",)
    assert found.report.resolved[0].isrc == ISRC
    buyers = ["buyer name", "buyer email", "buyer phone", "buyer note", "ship to name", "ship to street", "ship to zip"]
    assert personal([*columns("bandcamp.raw"), *buyers]) == {len(columns("bandcamp.raw")) + at for at in range(7)}


def test_what_stands_above_the_header_or_in_the_name_of_a_file_says_what_it_is_about() -> None:
    cells = {"Storefront Name": "US", "ISRC": ISRC, "Total  Royalty Bearing Plays": "3", "Net Royalty Total": "0.5",
             "Currency": "USD"}  # fmt: skip
    above = "Vendor Name\tA label\nStart Date\t11/30/2025\nEnd Date\t12/27/2025\n"
    below = "Total_Rows\t1\nCountry Of Sale\tPartner Share Currency\tQuantity\nUS\tUSD\t3\n"
    apple = above + table("", cells, header=list(cells), delimiter="\t") + below
    found = read(gzip.compress(apple.encode()), name="S1_12_25.txt.gz")
    assert found.report.source == "apple.financial"
    assert found.report.periods == ("2025-11-30/2025-12-27",)
    assert found.counted == {"ok": 1, "bad": 0, "queued": 0, "preamble": 3, "total_row": 1, "summary_table": 2}
    sums = "Country Of Sale\tPartner Share Currency\tQuantity\nUS\tUSD\t10\n"
    without_total = read(table("apple.financial", FULL["apple.financial"], delimiter="\t") + sums)
    assert without_total.counted == {"ok": 1, "bad": 0, "queued": 0, "summary_table": 2}

    youtube = {"Asset ID": "A1", "Asset Title": "Song", "ISRC": ISRC, "Owned Views": "1", "Partner Revenue": "0.1"}
    found = read(table("", youtube, header=list(youtube)), name="YouTube_me_M_20171201_20171231_asset_summary_v1-1.csv",
                 currency="USD")  # fmt: skip
    assert found.blocks == [(date(2017, 12, 1), date(2017, 12, 1), date(2017, 12, 31))]
    with pytest.raises(Asks) as asked:
        read(table("", youtube, header=list(youtube)), name="asset_summary.csv", currency="USD")
    assert asked.value.question == "period"


def test_what_is_returned_to_apple_is_taken_back() -> None:
    row = FULL["apple.financial"]
    returned = row | {"Sales or Return": "R", "Quantity": "-10", "Extended Partner Share": "-0.0123456789"}
    assert read(table("apple.financial", row, returned | {"Country Of Sale": "DE"})).report.totals == {
        "USD": "0.0000000000"
    }


def test_figures_over_a_stretch_of_time_are_told_of_songs_artists_and_playlists() -> None:
    songs = read("Morceau,Écoutes,Moy. d'auditeurs journalière,Nombre de Shazam,Radio Spins,Achats\nSong,70,5,1,0,2\n",
                 name="songs_123_2023-02-01_2023-02-28.csv", titles=Titles([(ISRC, "A", "Song")]))  # fmt: skip
    assert songs.report.source == "apple.songs"
    assert songs.report.unknown_columns == ()
    assert songs.rows == [["2", "Song", ISRC, "2023-02-01", "2023-02-28", "\\N", "70", "\\N", "\\N"]]

    day = {"date": "2023-02-01", "listeners": "5", "streams": "70", "saves": "1", "followers": "9"}
    audience = read(table("spotify.audience", day, day), name="4bF2-audience-timeline.csv")
    assert audience.rows == [["2", "4bF2", "\\N", "2023-02-01", "2023-02-01", "5", "70", "1", "\\N"]]
    assert audience.odd == [(3, "rejected", "duplicate_date")]
    oldest = table("", day, header=["date", "listeners", "streams", "followers"])
    assert read(oldest, artist="A").rows[0][1] == "A"

    lists = read(table("spotify.playlists", {"title": "Mix", "author": "Me", "listeners": "n/a", "streams": "-"}),
                 period_end=date(2023, 2, 28))  # fmt: skip
    assert lists.report.source == "spotify.playlists"
    assert lists.rows == [["2", "Mix / Me", "\\N", "\\N", "2023-02-28", "\\N", "\\N", "\\N", "\\N"]]
    assert lists.counted == {"ok": 1, "bad": 0, "queued": 0}


def test_a_report_in_another_language_is_the_same_report() -> None:
    english = FULL["believe.sales"]
    names = {"Reporting month": "Отчетный месяц", "Sales Month": "Месяц продажи", "Platform": "Платформа",
             "ISRC": "ISRC", "Quantity": "Количество", "Client Payment Currency": "Валюта клиента",
             "Net Revenue": "Чистый доход", "Country / Region": "Страна / Регион"}  # fmt: skip
    russian = {names[name]: cell for name, cell in english.items()}
    found = read(table("", russian, header=list(russian), delimiter=";").encode("utf-8-sig"))

    assert found.report == read(table("believe.sales", english)).report


def test_a_day_of_a_recording_comes_once_in_each_of_its_years() -> None:
    days = ("2023-02-01", "2024-02-01", "2024-02-29", "2024-03-01", "2024-02-01")
    found = read(table("own.daily", *({"isrc": ISRC, "date": day, "spotify_streams": "1"} for day in days)))
    assert [row[2] for row in found.rows] == list(days[:-1])
    assert found.odd == [(6, "rejected", "duplicate_date")]


def test_who_sold_is_not_kept_where_it_is_an_address() -> None:
    assert personal([*columns("sonosuite.sales"), "user_email", "user"]) == {26, 27}


def workbook(**sheets: list[list[str | int]]) -> bytes:
    """An XLSX with these sheets, as little of it as there may be."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
        relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
        packed.writestr("[Content_Types].xml",
                        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
                        f'<Default Extension="xml" ContentType="{kind}.sheet.main+xml"/></Types>')  # fmt: skip
        package = "http://schemas.openxmlformats.org/package/2006/relationships"
        packed.writestr("_rels/.rels", f'<Relationships xmlns="{package}"><Relationship Id="r" '
                        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>')  # fmt: skip
        named = "".join(f'<sheet name="{name}" sheetId="{at}" r:id="s{at}"/>' for at, name in enumerate(sheets, 1))
        packed.writestr(
            "xl/workbook.xml", f'<workbook {main} xmlns:r="{relations}"><sheets>{named}</sheets></workbook>'
        )
        packed.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}">' + "".join(
            f'<Relationship Id="s{at}" Type="{relations}/worksheet" Target="worksheets/sheet{at}.xml"/>'
            for at, _ in enumerate(sheets, 1)) + "</Relationships>")  # fmt: skip
        for at, rows in enumerate(sheets.values(), 1):
            cells = "".join(
                "<row>" + "".join(
                    f"<c><v>{cell}</v></c>" if isinstance(cell, int) else
                    f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in row
                ) + "</row>" for row in rows
            )  # fmt: skip
            packed.writestr(
                f"xl/worksheets/sheet{at}.xml", f"<worksheet {main}><sheetData>{cells}</sheetData></worksheet>"
            )
    return file.getvalue()


def test_all_sheets_of_a_workbook_that_are_of_one_kind_are_read_and_counts_of_its_rows_are_right() -> None:
    masters = ["Track Title", "Artists", "Product Type", "ISRC", "UPC", "Store", "Territory", "Sale Type",
               "Transaction Month", "Accounted Date", "Currency", "Quantity", "Net"]  # fmt: skip
    shares = ["Title", "Artists", "Product Type", "ID", "Parent ID", "Store", "Territory", "Sale Type", "Share Type",
              "Receiver Name", "Transaction Month", "Accounted Date", "Currency", "Quantity", "Net"]  # fmt: skip
    song: list[str | int] = [
        "Song",
        "A",
        "Track",
        ISRC,
        "",
        "Spotify",
        "US",
        "Streams",
        "2023-02",
        "2023-05-01",
        "USD",
        10,
        "1.5",
    ]
    bad: list[str | int] = [*song[:3], "nonsense", *song[4:]]
    out: list[str | int] = [
        "Song",
        "A",
        "Track",
        ISRC,
        "",
        "Spotify",
        "US",
        "Streams",
        "Out",
        "B",
        "2023-02",
        "2023-05-01",
        "USD",
        -3,
        "-0.5",
    ]
    content = workbook(Summary=[["Total", 1]], Masters=[list(masters), song, bad], Shares=[list(shares), out])
    found = read(content, name="report.xlsx")

    assert found.report.source == "onerpm.sales"
    assert found.report.totals == {"USD": "1.0"}
    assert [row.units for row in found.royalties] == ["10", "-3"]
    assert found.odd == [(3, "rejected", "isrc_invalid")]


def test_a_workbook_as_wide_as_a_million_columns_is_refused() -> None:
    with pytest.raises(Unreadable, match="columns"):
        read(workbook(Wide=[["x"] * 1_500]), name="report.xlsx")


# --- bytes as they come -----------------------------------------------------------------------------------------------

ROWS = bank({}, {"Title": 'Say "so"', "Country of Sale": "DE"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_encodings_line_ends_and_delimiters(encoding: str, end: str, delimiter: str) -> None:
    text = bank({"ISRC": ""}, {"Country of Sale": "DE"}, delimiter=delimiter, end=end)
    found = read(text.encode(encoding))

    assert found.counted == {"ok": 1, "bad": 0, "queued": 1}
    assert found.odd == [(2, "queued", "title_unknown")]
    assert found.royalties[0].artist == "Beyoncé"
    assert "encoding_mixed" not in found.report.warnings


def test_two_encodings_in_one_file_are_both_read_and_warned_of() -> None:
    lines = bank({"ISRC": ""}, {"ISRC": ""}).splitlines(keepends=True)
    found = read(b"".join([lines[0].encode(), lines[1].encode("utf-8"), lines[2].encode("cp1252")]))

    assert [row.artist for row in found.royalties] == ["Beyoncé", "Beyoncé"]
    assert "encoding_mixed" in found.report.warnings


def test_tabs_need_no_quotes_so_those_of_a_title_are_its_own() -> None:
    found = read(bank({"ISRC": "", "Title": '"Heroes'}, {"ISRC": "", "Title": '12" Mix'}, delimiter="\t"))

    assert [row.title for row in found.royalties] == ['"Heroes', '12" Mix']


def test_quoted_newlines_keep_the_lines_of_later_rows_right() -> None:
    text = bank({"Title": '"two\r\nlines"'}, {"ISRC": "nonsense"}, end="\r\n")
    assert read(text).odd == [(4, "rejected", "isrc_invalid")]


def test_packed_files_and_workbooks() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("summary.csv", "Store,Total\nSpotify,0.01\n")
        archive.writestr("cargo-royalty_extended.csv", table("fuga.royalty_extended", FULL["fuga.royalty_extended"]))
    assert read(packed.getvalue(), name="cargo.zip").report.source == "fuga.royalty_extended"
    assert read(gzip.compress(ROWS.encode()), name="bank.csv.gz").report.counts.accepted == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (b" \r\n\r\n", "empty_file"),
        (b"\xef\xbb\xbf", "empty_file"),
        (b"\n<!DOCTYPE html><html>", "html"),
        ("<html>".encode("utf-16"), "html"),
        (b"a,b\n1,2\n", "unknown_format"),
        (b"%PDF-1.7\n1,2", "unknown_format"),
        (b"\x1f\x8bnonsense", "unknown_format"),
        (b"PK\x03\x04nonsense", "unknown_format"),
        (b"\xd0\xcf\x11\xe0nonsense", "unknown_format"),
        (bytes(range(256)) * 8, "unknown_format"),
        (gzip.compress(b"\0" * 400_000_000, 9)[:400_000], "unknown_format"),
    ],
)
def test_what_is_no_report_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read(content)
    assert refused.value.reason == reason
    assert str(refused.value).endswith(".")


def test_a_zip_bomb_is_not_unpacked() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("bank.csv", ROWS + " " * 50_000_000)
    with pytest.raises(Unreadable, match="far more"):
        read(packed.getvalue())


# --- odd rows ---------------------------------------------------------------------------------------------------------


def test_rows_that_are_recognised_and_left_alone() -> None:
    head = ",".join(columns("distrokid.bank.v1"))
    text = (
        "Account,17\n\n"
        + bank({})
        + ",,,,,,,,,,,,\n"
        + head
        + "\nThis is a note for you\nTotal,,,,,,,,,,,,0.0123456789\nStore,Amount\nSpotify,0.01\n"
    )
    found = read(text)

    assert found.counted == {
        "ok": 1, "bad": 0, "queued": 0, "blank": 2, "note_row": 1, "preamble": 1, "repeated_header": 1,
        "summary_table": 2, "total_row": 1,
    }  # fmt: skip
    assert found.report.totals == {"USD": "0.0123456789"}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"ISRC": "QZABC23"}, "isrc_invalid"),
        ({"Quantity": "ten"}, "quantity_invalid"),
        ({"Quantity": "=1+1"}, "quantity_invalid"),
        ({"Earnings (USD)": "NaN"}, "amount_invalid"),
        ({"Earnings (USD)": "Infinity"}, "amount_invalid"),
        ({"Earnings (USD)": ""}, "amount_invalid"),
        ({"Earnings (USD)": "1E99"}, "amount_invalid"),
        ({"Sale Month": "2023-13"}, "period_invalid"),
        ({"Sale Month": "soon"}, "period_invalid"),
        ({"Reporting Date": "2023-02-30"}, "date_invalid"),
        ({"Reporting Date": "2027-02-01"}, "date_in_future"),
        ({"Sale Month": "2027-02"}, "date_in_future"),
    ],
)
def test_rows_that_are_wrong_say_why(cells: dict[str, str], reason: str) -> None:
    found = read(bank({}, cells))
    assert found.odd == [(3, "rejected", reason)]
    assert found.report.totals == {"USD": "0.0123456789"}


def test_a_row_that_is_cut_off_and_a_quote_that_never_ends() -> None:
    assert read(bank({}) + "2023-05-01,2023-02,Spotify").odd == [(3, "rejected", "truncated_row")]
    endless = read(bank({}) + '2023-05-01,2023-02,"' + "x" * 40_000)
    assert endless.odd == [(3, "rejected", "truncated_row")]
    assert "file_truncated" in endless.report.warnings


def test_equal_rows_all_count_and_warn_and_order_changes_nothing() -> None:
    twice = read(bank({}, {}))
    assert twice.report.totals == {"USD": "0.0246913578"}
    assert "duplicate_rows" in twice.report.warnings
    other = {"Country of Sale": "DE"}
    assert read(bank({}, other)).report.digest == read(bank(other, {})).report.digest != twice.report.digest
    assert "duplicate_rows" not in read(bank({}, other)).report.warnings


def test_albums_belong_to_their_release_and_lossy_codes_are_warned_of() -> None:
    album = {"ISRC": "", "Song/Album": "Album"}
    found = read(bank(album, album | {"UPC": ""}, {"UPC": "8.6E+11"}, {"UPC": "123456789013"}))

    assert [row.upc for row in found.royalties] == ["123456789012", None, None, None]
    assert found.odd == [(3, "queued", "not_a_recording")]
    assert {"upc_lossy", "upc_invalid"} <= set(found.report.warnings)


def test_titles_are_matched_within_their_artist_and_never_by_likeness() -> None:
    titles = Titles(
        [(ISRC, "Beyoncé", "Halo"), ("QZABC2300002", "Beyoncé", "Twice"), ("QZABC2300003", "Beyoncé", "Twice"),
         ("QZABC2300004", "Other", "Mine")],
        [("Beyoncé", "Alias", "QZABC2300009")],
    )  # fmt: skip
    names = ("HALO", "Twice", "Mine", "Halo (Remix)", "alias", "")
    found = read(bank(*({"ISRC": "", "UPC": "", "Title": name} for name in names)), titles=titles)

    assert [row.isrc for row in found.royalties] == [ISRC, None, None, None, "QZABC2300009", None]
    assert [each[2] for each in found.odd] == ["title_ambiguous", "title_unknown", "title_unknown", "isrc_missing"]


def test_tunecore_s_own_id_may_be_the_isrc_and_old_files_turn_day_and_month() -> None:
    row = FULL["tunecore.sales"] | {"Optional ISRC": "", "TC Song ID": ISRC, "Sales Period": "2015/01/03"}
    found = read(table("tunecore.sales", row))

    assert found.royalties[0].isrc == ISRC
    assert found.report.periods == ("2015-03",)


def test_a_file_that_writes_the_day_before_the_month_does_so_in_all_its_dates() -> None:
    row = FULL["tunecore.sales"] | {"Sales Period": "2015/01/03", "Posted Date": "2015/05/04"}
    january = row | {"Sales Period": "2015/01/01", "Posted Date": "2015/20/04"}
    found = read(table("tunecore.sales", january, row, row | {"Posted Date": "2015-05-04"}))

    assert found.odd == []
    assert [statement for statement, *_ in found.blocks] == [date(2015, 4, 20), date(2015, 4, 5), date(2015, 5, 4)]
    assert found.report.periods == ("2015-01", "2015-03")


@pytest.mark.parametrize("run", ["17", "123456", "1234567", "20231301", "R-17"])
def test_the_number_of_a_run_is_no_date(run: str) -> None:
    found = read(table("fuga.royalty_extended", FULL["fuga.royalty_extended"] | {"Report Run ID": run}))

    assert found.odd == []
    assert [statement for statement, *_ in found.blocks] == [date(2023, 2, 1)]


def test_what_an_account_is_debited_with_is_taken_off() -> None:
    row = FULL["amuse.statement"]
    debits = (row | {"Type": "debited", "Total": sign + "0.01"} for sign in ("", "-"))
    found = read(table("amuse.statement", row | {"Total": "1"}, *debits), currency="EUR")

    assert found.report.totals == {"EUR": "0.98"}


@pytest.mark.parametrize(
    ("name", "begins"),
    [("4bF2-songs-28day.csv", "2024-02-02"), ("4bF2-songs-1year.csv", "2023-03-01"), ("4bF2-songs-all.csv", "\\N"),
     ("report.csv", "\\N")],
)  # fmt: skip
def test_the_name_of_a_file_tells_how_long_it_sums_up(name: str, begins: str) -> None:
    songs = table("spotify.songs", {"song": "Song", "listeners": "5", "streams": "70", "saves": "1"})
    assert read(songs, name=name, period_end=date(2024, 2, 29)).rows[0][3:5] == [begins, "2024-02-29"]
    told = read(songs, name=name, period_start=date(2024, 1, 1), period_end=date(2024, 2, 29))
    assert told.rows[0][3] == "2024-01-01"


def test_what_is_void_is_taken_back_and_a_quarter_stays_a_quarter() -> None:
    row = FULL["symphonic.royalty"]
    quarter = row | {"Activity Period": "Q118"}
    found = read(table("symphonic.royalty", row, row | {"Sale or Void": "Void"}, quarter))

    assert found.report.totals == {"USD": "0.0123456789"}
    assert found.report.periods == ("2018-01-01/2018-03-31", "2023-02")


def test_decimal_commas_and_thousands() -> None:
    row = FULL["believe.sales"]
    rows = (row | {"Net Revenue": "0,5", "Quantity": "1.200"}, row | {"Net Revenue": "1.234,25"})
    found = read(table("believe.sales", *rows, delimiter=";"))
    assert found.report.totals == {"USD": "1234.75"}
    payment = row | {"Type": "Payment"}
    with_type = [*columns("believe.sales"), "Type"]
    assert read(table("believe.sales", payment, header=with_type)).counted["payout_row"] == 1


def test_commas_are_decimal_where_they_cannot_be_anything_else() -> None:
    def money(*amounts: str, delimiter: str = ",") -> dict[str, str]:
        rows = (BANK | {"Earnings (USD)": f'"{each}"', "Country of Sale": str(at)} for at, each in enumerate(amounts))
        return dict(read(table("distrokid.bank.v1", *rows, delimiter=delimiter)).report.totals)

    assert money("0,50", "12,5") == {"USD": "13.00"}
    assert money("1,200", "0.5") == {"USD": "1200.5"}
    # A sum of money is not a hundred times what it was because it stands in another file: it is wrong there.
    assert money("0.50", "0.25", "0,50") == {"USD": "0.75"}
    assert money("0,50", "0,25", "1.200", delimiter=";") == {"USD": "0.75"}


def test_what_was_written_out_for_a_spreadsheet_is_read_as_it_was() -> None:
    cells = {"Title": "=SUM(A1)", "Artist": "@lumen", "Quantity": "-1", "Earnings (USD)": "-$1.2", "ISRC": ""}
    escaped = {name: inert(each) for name, each in cells.items()}
    assert escaped != cells
    assert read(bank(escaped)).royalties == read(bank(cells)).royalties
    assert read(bank(escaped)).report.digest == read(bank(cells)).report.digest
    assert read(bank(escaped)).report.totals == {"USD": "-1.2"}


@pytest.mark.parametrize(
    ("cell", "written"),
    [("-1.2E-5", "-1.2E-5"), ("+1,200.50", "+1,200.50"), ("-", "'-"), ("-1+1", "'-1+1"), ("=1", "'=1"), ("'=1", "'=1"),
     ("-$1", "'-$1"), ("\t=1", "'\t=1"), ("", ""), ("- 1", "'- 1")],
)  # fmt: skip
def test_only_what_a_spreadsheet_would_compute_is_made_inert(cell: str, written: str) -> None:
    assert inert(cell) == written


# --- questions --------------------------------------------------------------------------------------------------------


def test_what_the_file_does_not_say_is_asked_and_never_guessed() -> None:
    def asks(content: str, **options: Any) -> str:
        with pytest.raises(Asks) as asked:
            read(content, **options)
        return asked.value.question

    day = {"isrc": ISRC, "spotify_streams": "5"}
    assert asks(table("own.daily", day | {"date": "03/04/2024"})) == "date_order"
    assert asks(table("amuse.statement", FULL["amuse.statement"])) == "currency"
    assert asks(table("spotify.timeline", {"date": "2024-01-01", "streams": "5"})) == "track"
    assert asks(table("spotify.songs", {"song": "A", "listeners": "1", "streams": "2", "saves": "3"})) == "period"
    assert read(table("own.daily", day | {"date": "03/04/2024"}), date_order="dmy").rows[0][2] == "2024-04-03"
    both = table("own.daily", day | {"date": "03/04/2024"}, day | {"date": "25/12/2023"})
    assert [row[2] for row in read(both).rows] == ["2024-04-03", "2023-12-25"]
    with pytest.raises(Inconsistent):
        read(table("own.daily", day | {"date": "12/25/2023"}, day | {"date": "25/12/2023"}))


# --- numbers and periods ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2023-02", "2023-02-01", "2023-02-28"),
        ("2017M10", "2017-10-01", "2017-10-31"),
        ("JUN-26", "2026-06-01", "2026-06-30"),
        ("Q118", "2018-01-01", "2018-03-31"),
        ("JAN-FEB-18", "2018-01-01", "2018-02-28"),
        ("September 2025", "2025-09-01", "2025-09-30"),
        ("10/15/2023 12:00:00 AM", "2023-10-15", "2023-10-15"),
        ("20240229", "2024-02-29", "2024-02-29"),
        ("février 2024", "2024-02-01", "2024-02-29"),
        ("2023-02-30", None, None),
        ("Smarch 2023", None, None),
        ("", None, None),
        ("٢٠٢٣-٠٢", "2023-02-01", "2023-02-28"),
    ],
)
def test_periods_are_read_and_never_made_finer(text: str, start: str | None, end: str | None) -> None:
    found = period(text, "mdy")
    expected = None if start is None or end is None else Period(date.fromisoformat(start), date.fromisoformat(end))
    assert found == expected


@pytest.mark.parametrize(
    ("text", "comma", "value"),
    [
        ("0.1", False, "0.1"), ("1,234.5", False, "1234.5"), ("1.234,5", True, "1234.5"), ("0,5", True, "0.5"),
        ("1,200", False, "1200"), ("(3.10)", False, "-3.10"), ("$1.20", False, "1.20"), ("1.2E-5", False, "0.000012"),
        ("", False, None), ("-", False, None), ("nan", False, None), ("1e400", False, None), ("0x10", False, None),
        ("1" * 16, False, None), ("٣", False, None), ("0,50", False, None), ("1,23,456", False, "123456"),
        ("1.234", True, None), ("1.234.567", True, "1234567"), ("0.123", True, "0.123"), ("1,2345", False, None),
    ],
)  # fmt: skip
def test_amounts_are_exact(text: str, comma: bool, value: str | None) -> None:
    found = amount(text, decimal_comma=comma)
    assert (None if found is None else format(found, "f")) == value


def test_counts() -> None:
    assert [count(each) for each in ("1,200", "-1", "12.0", "1.200.000", "x", "1.5", "", "9" * 16)] == [
        1200, -1, 12, 1200000, None, None, None, None,
    ]  # fmt: skip
