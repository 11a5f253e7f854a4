"""Adds the lines that are missing."""

from __future__ import annotations

from msgspec import Raw, json

from adapters.log import codec
from tests.history import file_of, lines
from tests.strategies import ordinary
from tests.walking import vocabulary


class _Open:
    """Personal texts as they are before they are sealed."""

    def seal(self, subject: str, field: str, text: str) -> str:
        """Marked, not sealed."""
        return f"sealed:v1:{text}"

    def unseal(self, subject: str, field: str, sealed: str) -> str | None:
        """What was marked."""
        return sealed.removeprefix("sealed:v1:")


def main() -> None:
    """Write a line for each event and version that has none."""
    known = {(line.name, line.schema_version) for line in lines()}
    for name, kind in vocabulary().items():
        if (name, kind.schema_version) not in known:
            facts = Raw(codec.encode(ordinary(kind), _Open()))
            with file_of(kind).open("ab") as file:
                file.write(json.encode({"name": name, "schema_version": kind.schema_version, "facts": facts}) + b"\n")
            print(name, kind.schema_version)


if __name__ == "__main__":
    main()
