"""SQL statements, one a file; each opens with what it does or what one row means."""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """Return the text of `name`.sql."""
    return files(__name__).joinpath(f"{name}.sql").read_text("utf-8")
