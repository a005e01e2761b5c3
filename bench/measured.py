"""Figures of bench/RESULTS.md, read from the tables that the benches wrote there."""

import re
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


class Measured:
    """The newest sections of the benches; a figure that is not there is an error that names its bench."""

    def __init__(self, text: str) -> None:
        self._sections = dict(re.findall(r"<!-- (\w+) on [^\n]*-->\n(.*?)(?=\n<!-- |\Z)", text, re.DOTALL))

    @classmethod
    def read(cls, path: Path = RESULTS) -> "Measured":
        """Read the file that `bench.all` writes."""
        return cls(path.read_text("utf-8"))

    def said(self, bench: str, pattern: str) -> float:
        """Return the number that the only group of a pattern finds in a section."""
        found = re.search(pattern, self._section(bench))
        if found is None:
            raise LookupError(f"bench/RESULTS.md has no {pattern!r} of the bench {bench}: run it again")
        return _number(found[1])

    def rows(self, bench: str) -> list[dict[str, str]]:
        """Return the rows of all tables of a section, by the names of their columns."""
        found: list[dict[str, str]] = []
        header: list[str] = []
        for line in self._section(bench).splitlines():
            cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
            if not cells:
                header = []
            elif not header:
                header = cells
            elif not cells[0].startswith("---"):
                found.append(dict(zip(header, cells, strict=True)))
        return found

    def figure(self, bench: str, column: str, **asked: str) -> float:
        """Return the first number of a cell: of the row whose cells in the columns `asked` begin so."""
        for row in self.rows(bench):
            if column in row and all(row.get(name, "").startswith(start) for name, start in asked.items()):
                return _number(row[column])
        raise LookupError(f"bench/RESULTS.md has no {column!r} of {asked} of the bench {bench}: run it again")

    def _section(self, bench: str) -> str:
        if bench not in self._sections:
            raise LookupError(
                f"bench/RESULTS.md has nothing of the bench {bench}: run `python -m bench.{bench}`"
            )
        return str(self._sections[bench])


def _number(text: str) -> float:
    found = re.search(r"-?[\d,]+(?:\.\d+)?", text)
    assert found, text
    return float(found[0].replace(",", ""))
