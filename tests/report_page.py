"""A report as its reader without scripts sees it, and as its scripts read it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Page(HTMLParser):
    """Cells of the tables by their id, texts of elements with an id, every tag with its attributes, and the data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.by_id: dict[str, str] = {}
        self.scripts: list[str] = []
        self.seen = ""
        """What is shown, without scripts and styles."""
        self._rows: list[list[str]] | None = None
        self._id: str | None = None
        self._is_shown = True
        self._is_script = False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag in ("script", "style"):
            self._is_shown = False
            if tag == "script" and "type" not in given:
                self.scripts.append("")
                self._is_script = True
        elif tag == "table":
            self._rows = self.tables.setdefault((given["id"] or "").removeprefix("table-"), [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th") and self._rows is not None:
            self._rows[-1].append("")
        elif tag == "dd":
            self._id = given["id"]

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._is_shown, self._is_script = True, False
        elif tag == "table":
            self._rows = None
        elif tag == "dd":
            self._id = None

    def handle_data(self, data: str) -> None:
        if self._is_script:
            self.scripts[-1] += data
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        if not self._is_shown:
            return
        self.seen += data
        if self._id:
            self.by_id[self._id] = data
        elif self._rows and self._rows[-1]:
            self._rows[-1][-1] = (self._rows[-1][-1] + data).strip()

    @property
    def data(self) -> dict[str, Any]:
        """What the page's scripts read."""
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.text, re.DOTALL)
        assert found
        read: dict[str, Any] = json.loads(found[1])
        return read

    def named(self, table: str) -> list[dict[str, str]]:
        """Rows of a table by the names in its head."""
        head, *rows = self.tables[table]
        return [dict(zip(head, row, strict=True)) for row in rows]
