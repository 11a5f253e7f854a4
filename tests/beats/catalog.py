"""A catalogue as Excel writes it."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

HEADER = ("Category Name", "Genre", "Style", "Mood", "Use-case", "Tags", "Prompt")


def spreadsheet(*rows: Sequence[str], header: Sequence[str] = HEADER) -> bytes:
    """XML Spreadsheet 2003 with these rows; an empty cell is left out, and the next says where it is."""
    lines = "".join(_row(row) for row in (header, *rows))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><?mso-application progid="Excel.Sheet"?>'
        '<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" '
        'xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet">'
        f'<Worksheet ss:Name="Beats"><Table>{lines}</Table></Worksheet></Workbook>'
    ).encode()


def _row(cells: Sequence[str]) -> str:
    found = "".join(
        f'<Cell ss:Index="{place}"><Data ss:Type="String">{escape(text)}</Data></Cell>'
        for place, text in enumerate(cells, 1)
        if text
    )
    return f"<Row>{found}</Row>"
