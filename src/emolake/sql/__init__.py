"""SQL statements, one a file; each opens with what it does or what one row means."""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str, **identifiers: str) -> str:
    """Return the text of `name`.sql.

    Args:
        name: of the file.
        identifiers: names of tables and columns for its {placeholders}; values are bound as parameters.
    """
    text = files(__name__).joinpath(f"{name}.sql").read_text("utf-8")
    return text.format(**identifiers) if identifiers else text


def literal(text: str) -> str:
    """Return a text as SQL has it, for the statements that take no parameters.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return the name of a table or column as SQL has it.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'
