"""Template catalogues as spreadsheets: SpreadsheetML 2003, which Excel calls "XML Spreadsheet 2003".

The first row of the first sheet that has one names the columns; they may stand in any order, and others beside them.
Nothing of XML but elements and text is taken: a document type, and with it every entity, is refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from xml.parsers import expat

from adapters.band.catalogue import plain
from adapters.band.genres import UnknownGenre, profile_of
from domain.beats.templates import Template
from domain.kernel import Invalid

_SPACE = "urn:schemas-microsoft-com:office:spreadsheet"
_COLUMNS = {
    "category name": "category",
    "category": "category",
    "genre": "genre",
    "style": "style",
    "mood": "mood",
    "use-case": "use_case",
    "use case": "use_case",
    "tags": "tags",
    "prompt": "prompt",
}
ROWS_MAX = 500
CELLS_MAX = 64
TEXT_MAX = 2000
WORD_MAX = 100


class NotASpreadsheet(Invalid):
    """Not a catalogue. Send SpreadsheetML (XML Spreadsheet 2003) with the columns Category Name, Genre, Style, Mood,
    Use-case, Tags and Prompt: {problem}"""


class Refused(NamedTuple):
    """A row that is no template, and why; rows are counted as spreadsheets do."""

    row: int
    reason: str


class Read(NamedTuple):
    """What a spreadsheet holds."""

    templates: list[Template]
    refused: list[Refused]


def read(data: bytes) -> Read:
    """The templates in a spreadsheet; raises NotASpreadsheet."""
    rows = _Rows()
    try:
        rows.parse(data)
    except expat.ExpatError as problem:
        raise NotASpreadsheet(problem=f"it is not well-formed XML, line {problem.lineno}.") from None
    if not rows.found:
        raise NotASpreadsheet(problem="it has no rows.")
    number, header = rows.found[0]
    columns = {index: _COLUMNS[name] for index, text in header.items() if (name := _words(text).lower()) in _COLUMNS}
    missing = {"category", "genre"} - set(columns.values())
    if missing:
        raise NotASpreadsheet(problem=f"its first row lacks the column {' and '.join(sorted(missing))}.")
    templates: dict[str, Template] = {}
    refused = []
    for number, cells in rows.found[1:]:
        facts = {name: _words(cells.get(index, "")) for index, name in columns.items()}
        if not any(facts.values()):
            continue
        try:
            template = _template(facts)
        except ValueError as problem:
            refused.append(Refused(number, str(problem)))
        else:
            templates[plain(template.category)] = template
    return Read(list(templates.values()), refused)


def _words(text: str) -> str:
    return " ".join(text.split())


def _template(facts: dict[str, str]) -> Template:
    for name, value in facts.items():
        most = TEXT_MAX if name in ("prompt", "tags") else WORD_MAX
        if len(value) > most:
            raise ValueError(f"The {name.replace('_', ' ')} is longer than {most} characters.")
    if not facts["category"]:
        raise ValueError("It has no category name.")
    try:
        genre = profile_of(facts["genre"]).name
    except UnknownGenre as unknown:
        raise ValueError(str(unknown)) from None
    tags = [tag.strip().lower() for tag in facts.get("tags", "").replace(";", ",").split(",")]
    if any(len(tag) > WORD_MAX for tag in tags):
        raise ValueError(f"A tag is longer than {WORD_MAX} characters.")
    return Template(
        category=facts["category"],
        genre=genre,
        style=facts.get("style", ""),
        mood=facts.get("mood", ""),
        use_case=facts.get("use_case", ""),
        tags=tuple(dict.fromkeys(filter(None, tags)))[:50],
        prompt=facts.get("prompt", ""),
    )


class _Rows:
    """Reads rows of cells; a cell may say at which place of its row it is, and a row at which of its sheet."""

    def __init__(self) -> None:
        self.found: list[tuple[int, dict[int, str]]] = []
        self._row = self._cell = 0
        self._cells: dict[int, str] | None = None
        self._text: list[str] | None = None
        self._sheets = self._first = 0

    def parse(self, data: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.Parse(data, True)

    def _doctype(self, *_: Any) -> None:
        raise NotASpreadsheet(problem="it declares a document type.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        match _element(name):
            case "Worksheet":
                self._sheets += 1
                self._row = 0
            case "Row":
                self._row = _index(attributes, self._row)
                self._cells, self._cell = {}, 0
            case "Cell":
                self._cell = _index(attributes, self._cell)
            case "Data" if self._cells is not None:
                self._text = []

    def _end(self, name: str) -> None:
        match _element(name):
            case "Data" if self._text is not None and self._cells is not None:
                if self._cell <= CELLS_MAX:
                    self._cells[self._cell] = "".join(self._text)
                self._text = None
            case "Row":
                if self._cells and self._is_first_sheet:
                    self.found.append((self._row, self._cells))
                    if len(self.found) > ROWS_MAX + 1:
                        raise NotASpreadsheet(problem=f"it has more than {ROWS_MAX} rows.")
                self._cells = None

    @property
    def _is_first_sheet(self) -> bool:
        if not self.found:
            self._first = self._sheets
        return self._sheets == self._first

    def _data(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)


def _element(name: str) -> str:
    """The name of an element of a spreadsheet; nothing for any other."""
    space, _, local = name.partition(" ")
    return local if space == _SPACE else ""


def _index(attributes: dict[str, str], before: int) -> int:
    """The place that an element says it is at, or the next one."""
    said = attributes.get(f"{_SPACE} Index", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 8 else before + 1
