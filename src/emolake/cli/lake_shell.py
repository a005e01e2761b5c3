"""The shell over the lake: statements over several lines, commands that begin with a dot, and Ctrl-C for the query."""

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import duckdb

from emolake.cli.arguments import ShellFormat
from emolake.errors import ConfigurationError, EmolakeError
from emolake.lake.disclosure import columns_of_lake, known_by
from emolake.lake.query import first_rows, statements
from emolake.lake.transact import Lake
from emolake.messages import counted, printable
from emolake.output.notices import complain
from emolake.output.table import markdown_table, print_record, print_table, write_csv, write_json
from emolake.schemas.tables import Table

if TYPE_CHECKING:
    from types import ModuleType

_PROMPT, _CONTINUED = "lake> ", "  ... "
_MOST_ROWS = 1000
# Words of other programs, none of which begins a statement, and what they are here.
_MEANT = {
    "quit": ".quit leaves, as Ctrl-D does",
    "exit": ".quit leaves, as Ctrl-D does",
    "help": ".help shows what there is",
    "?": ".help shows what there is",
}
_ALL_ROWS = sys.maxsize - 1


class LakeShell:
    """A conversation with an open lake; what is shown goes to standard output, everything else to standard error."""

    def __init__(
        self, lake: Lake, *, mode: ShellFormat = ShellFormat.table, most_rows: int = _MOST_ROWS
    ) -> None:
        self._lake = lake
        self._mode = mode
        self._most_rows = most_rows or _ALL_ROWS
        self._begun: list[str] = []
        self._is_over = False
        self._commands: dict[str, tuple[str, str, Callable[[str], None]]] = {
            ".tables": ("", "list the tables and views", self._show_tables),
            ".schema": ("[NAME]", "show the columns of a table or view, or of all", self._show_schema),
            ".mode": (f"[{'|'.join(ShellFormat)}]", "say how rows are shown", self._set_mode),
            ".rows": ("[N]", "show that many rows of an answer at most; 0 is all", self._set_rows),
            ".help": ("", "show this", self._show_help),
            ".quit": ("", "leave, as Ctrl-D does", self._quit),
            ".exit": ("", "leave, as Ctrl-D does", self._quit),
        }

    def talk(self) -> None:
        """Read from the terminal until the person leaves; an error or Ctrl-C ends the statement, not the shell."""
        readline = _readline()
        if readline is not None:
            self._complete(readline)
        complain("the lake is open to read; a statement ends with ;  .help shows the commands, Ctrl-D leaves")
        while not self._is_over:
            try:
                line = input(_CONTINUED if self._begun else _PROMPT)
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print()
                self._begun.clear()
                continue
            try:
                if readline is not None and self._begun:
                    _join_history(readline, [*self._begun, line])
                meant = None if self._begun else _MEANT.get(line.rstrip("; ").strip().lower())
                if meant:
                    complain(f"commands begin with a dot: {meant}")
                else:
                    self.take(line)
            except KeyboardInterrupt:
                self._begun.clear()
                complain("cancelled")
            except EmolakeError as error:
                complain(str(error), lines=error.has_lines)
            except duckdb.Error as error:
                complain(" ".join(str(error).split()))

    def read(self, lines: Iterable[str]) -> None:
        """Do what the lines of a script say; the last statement needs no semicolon.

        Raises:
            QueryError: a statement fails; those after it are not run.
            ConfigurationError: there is no such command, or no such table.
        """
        for line in lines:
            if not self._is_over:
                self.take(line.rstrip("\n"))
        rest, self._begun = "\n".join(self._begun), []
        if rest.strip() and not self._is_over:
            self._answer(rest)

    def take(self, line: str) -> None:
        """Take a line: a command, or a part of a statement, which is run when it is whole."""
        if not self._begun and line.lstrip().startswith("."):
            self._command(line.strip().rstrip(";"))
        elif self._begun or line.strip():
            self._begun.append(line)
            text = "\n".join(self._begun)
            if is_whole(text):
                self._begun = []
                self._answer(text)

    def _command(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        if name not in self._commands:
            raise ConfigurationError(f"there is no command {name}; .help shows those that there are")
        self._commands[name][2](argument.strip())

    def _answer(self, text: str) -> None:
        for sql in statements(self._lake, text):
            # Of a file one would miss the rows that are not shown.
            most = self._most_rows if self._mode in (ShellFormat.table, ShellFormat.line) else _ALL_ROWS
            names, rows, more = first_rows(self._lake, sql, most)
            self._show(names, rows)
            if more:
                complain(f"these are the first {counted(most, 'row')}; `.rows 0` shows all")

    def _show(self, names: list[str], rows: list[tuple[Any, ...]]) -> None:
        if self._mode is ShellFormat.csv:
            write_csv(names, rows, sys.stdout)
        elif self._mode is ShellFormat.json:
            write_json((dict(zip(names, row, strict=True)) for row in rows), sys.stdout)
        elif self._mode is ShellFormat.markdown:
            print(markdown_table(names, ([_text(value) for value in row] for row in rows)))
        elif self._mode is ShellFormat.line:
            for row in rows:
                print_record(names, row, sys.stdout)
        else:
            print_table(names, rows, sys.stdout)
        sys.stdout.flush()

    def _show_tables(self, _: str) -> None:
        found = self._lake.answer(lambda: columns_of_lake(self._lake))
        rows = []
        for name in found:
            known = known_by(name)
            rows.append(
                (name, "table" if isinstance(known, Table) else "view", known.description if known else "")
            )
        self._show(["name", "kind", "what a row is"], rows)

    def _show_schema(self, name: str) -> None:
        found = self._lake.answer(lambda: columns_of_lake(self._lake))
        if name and name not in found:
            raise ConfigurationError(f"the lake has no table or view {name}; .tables lists them")
        for each in [name] if name else found:
            known = known_by(each)
            said = {column.name: column for column in (known.columns if known else ())}
            self._show(
                [each, "type", "unit", "meaning"],
                [
                    (name, kind, column and column.unit, column and column.description)
                    for name, kind in found[each].items()
                    for column in [said.get(name)]
                ],
            )

    def _set_mode(self, mode: str) -> None:
        if mode and mode not in set(ShellFormat):
            raise ConfigurationError(f"there is no mode {mode}; there are {', '.join(ShellFormat)}")
        if mode:
            self._mode = ShellFormat(mode)
        else:
            complain(f"rows are shown as {self._mode}")

    def _set_rows(self, number: str) -> None:
        if number and not number.isdecimal():
            raise ConfigurationError(f"{number!r} is no number of rows; 0 is all")
        if number:
            self._most_rows = int(number) or _ALL_ROWS
        else:
            most = (
                "all rows" if self._most_rows == _ALL_ROWS else f"{counted(self._most_rows, 'row')} at most"
            )
            complain(f"{most} of an answer are shown")

    def _show_help(self, _: str) -> None:
        for name, (argument, does, _command) in self._commands.items():
            print(f"{f'{name} {argument}':42}{does}")
        print(
            "SELECT …;                                 ask the lake; over as many lines as you like, up to the ;"
        )
        print("Ctrl-C                                    end the query, or forget the lines before")

    def _quit(self, _: str) -> None:
        self._is_over = True

    def _complete(self, readline: "ModuleType") -> None:
        """Let Tab complete commands, and the names of tables, columns and SQL's own words."""
        found = self._lake.answer(lambda: columns_of_lake(self._lake))
        keywords = self._lake.answered_rows("SELECT keyword_name FROM duckdb_keywords()")
        words = sorted({*self._commands, *found, *(each for its in found.values() for each in its)})
        words += sorted(keyword.upper() for (keyword,) in keywords)

        def fitting(text: str, number: int) -> str | None:
            fits = [word for word in words if word.lower().startswith(text.lower())]
            return fits[number] if number < len(fits) else None

        readline.set_completer(fitting)
        readline.set_completer_delims(" \t\n,;()=<>+-*/'\"[")
        readline.parse_and_bind("tab: complete")


def is_whole(text: str) -> bool:
    """Return whether a text ends with the end of a statement: a semicolon in no string and in no comment.

    >>> is_whole("SELECT 1;"), is_whole("SELECT ';"), is_whole("SELECT 1; -- that is all"), is_whole("SELECT 1 -- ;")
    (True, False, True, False)
    """
    encoded = text.encode()
    tokens = duckdb.tokenize(text)
    if not tokens:
        return not text.strip() or all(line.lstrip()[:2] in ("", "--") for line in text.splitlines())
    (last, _) = tokens[-1]
    if encoded[last : last + 1] != b";":
        return False
    after = encoded[last + 1 :].decode().splitlines()
    return all(line.lstrip()[:2] in ("", "--") for line in after)


def _text(value: Any) -> str:
    return "" if value is None else printable(str(value))


def _readline() -> "ModuleType | None":
    """Return readline, with the history of earlier conversations; None where this Python has none."""
    try:
        import readline
    except ImportError:
        return None
    import atexit

    from emolake.environment import history_file

    path = history_file()
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(2000)

    def keep() -> None:
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)  # a question may name somebody
            readline.write_history_file(path)

    atexit.register(keep)
    return readline


def _join_history(readline: "ModuleType", lines: list[str]) -> None:
    """Let a statement of several lines be one entry of the history, unless a comment would then swallow its rest."""
    if any("--" in line for line in lines) or not is_whole("\n".join(lines)):
        return
    for _ in range(min(len(lines), readline.get_current_history_length())):
        readline.remove_history_item(readline.get_current_history_length() - 1)
    readline.add_history(" ".join(line.strip() for line in lines))
