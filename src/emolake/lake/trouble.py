"""What disks and servers do to a lake, in one sentence with the remedy."""

import re

import duckdb

from emolake.messages import redacted

# By what the error says: the remedy.
_REMEDIES = (
    ("Out of Memory", "give the process more memory"),
    (
        "No space left|disk is full|File too large|quota",
        "make room where warehouse.data and warehouse.catalog lie",
    ),
    (
        r"HTTP (code )?4\d\d",
        "check, or renew, the credentials of warehouse.data and the policy of its bucket",
    ),
    ("HTTP", "check that the server of warehouse.data is well"),
    ("", "check that the catalog's server, or its disk, is well"),
)
# What no disk and no server causes.
_BUGS = (
    duckdb.ProgrammingError,
    duckdb.DataError,
    duckdb.IntegrityError,
    duckdb.InternalError,
    duckdb.NotSupportedError,
    duckdb.InterruptException,
)
_LONGEST = 300


def reason(error: OSError | duckdb.Error) -> str:
    """Return why a file cannot be read or written, in one line without secrets."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return redacted(" ".join(str(error).split()))[:_LONGEST]


def trouble(error: duckdb.Error, catalog: str) -> str | None:
    """Return what is wrong and the remedy; None where neither a disk nor a server is to blame.

    Args:
        error: what DuckDB raised; what DuckLake raises itself is of no kind, but a plain duckdb.Error.
        catalog: path or connection string of the catalog, which the sentence leaves out: it may hold a password.
    """
    if isinstance(error, _BUGS):
        return None
    said = redacted(" ".join(str(error).replace(catalog, "the catalog").split()))
    remedy = next(remedy for sign, remedy in _REMEDIES if re.search(sign, said))
    return f"the lake cannot be read or written: {said[:_LONGEST]}; {remedy}, and run again: what was committed stays"
