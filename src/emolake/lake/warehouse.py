"""Where the lake is: its catalog, and the Parquet files that the catalog describes."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote

from pydantic import Field

from emolake.errors import ConfigurationError
from emolake.options import Options
from emolake.source.access import Addressing, Endpoint, Uri

# As libpq reads it: a word, or a value in single quotes with backslashes.
_DATABASE = re.compile(r"(?:^|\s)dbname\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s\\]|\\.)+))", re.DOTALL)
_PASSWORD = re.compile(r"(?:^|\s+)\w*password\s*=\s*(?:'(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)+)", re.DOTALL)
_PASSWORD_OF_USER = re.compile(r"(://[^/?#:@]*):[^/?#]*(?=@)")
_PASSWORD_OF_QUERY = re.compile(r"(?:&|(?<=\?))\w*password=[^&]*")
_DATABASE_OF_URI = re.compile(r"postgres(?:ql)?://[^/?]*/([^?]*)(?:\?|$)")


class WarehouseOptions(Options):
    """Where the lake lies."""

    catalog: str = "sqlite:lake/catalog.sqlite"
    """`sqlite:PATH`, or `postgres:` with a libpq connection string."""
    data: Uri = "lake/data"
    """Folder or `s3://bucket/prefix` of the Parquet files."""
    endpoint_url: Endpoint | None = None
    """URL of an S3-compatible server for the data; the source's when left out."""
    addressing: Addressing | None = None
    """How the data's bucket is named in requests: "path", "virtual" or "auto"; as for the source when left out."""
    commit_attempts: int = Field(30, ge=1)
    """How often a transaction that lost against another writer is made again."""

    @property
    def is_on_s3(self) -> bool:
        """Whether the data lies in a bucket, and not in a folder."""
        return self.data.startswith("s3://")

    @property
    def parsed_catalog(self) -> "Catalog":
        """What `catalog` says."""
        return Catalog.parse(self.catalog)


class AggregateOptions(Options):
    """What the daily table is broken down by."""

    by: tuple[str, ...] = ("site",)
    """Dimensions of daily_emotions, and "role" and "channel"; where there are roles, role is always one of them."""


class PublishOptions(Options):
    """The plain DuckDB file of aggregates and views that `emolake publish` writes."""

    file: str = "analytics.duckdb"
    """The file, which any DuckDB since 1.0 opens."""
    after_nightly: bool = False
    """Write it again after each nightly run that comes to its end."""
    include: tuple[Literal["recordings", "segments"], ...] = ()
    """What goes in beside the summaries: the tables and views of single recordings, and of single segments."""
    dimensions: tuple[str, ...] = ()
    """Dimensions that name nobody, beside those of aggregate.by: they are published and exported, the others not."""
    personal: bool = False
    """Publish URIs, transcripts, error messages and every dimension too."""


@dataclass(frozen=True)
class Catalog:
    """The database that DuckLake keeps its metadata in; `target` is a file's path or a libpq connection string."""

    kind: Literal["sqlite", "postgres"]
    target: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sqlite:PATH` or `postgres:dbname=… host=…`.

        Raises:
            ConfigurationError: it is neither.
        """
        kind, _, target = text.partition(":")
        if kind not in ("sqlite", "postgres") or not target:
            raise ConfigurationError(
                f"warehouse.catalog starts with {kind!r}; expected sqlite:PATH or postgres:dbname=… host=…"
            )
        return cls("sqlite" if kind == "sqlite" else "postgres", target)

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"

    def without_password(self) -> "Catalog":
        """Return the catalog as it may be shown; the password then comes from PGPASSWORD or ~/.pgpass.

        >>> str(Catalog("postgres", "host=db password='a b' user=me").without_password())
        'postgres:host=db user=me'
        >>> str(Catalog("postgres", "postgresql://me:secret@db/lake?sslmode=require&password=x").without_password())
        'postgres:postgresql://me@db/lake?sslmode=require'
        """
        if self.kind == "sqlite":
            return self
        if "://" not in self.target:
            return Catalog(self.kind, _PASSWORD.sub("", self.target).strip())
        bare = _PASSWORD_OF_USER.sub(r"\1", self.target)
        return Catalog(self.kind, _PASSWORD_OF_QUERY.sub("", bare).replace("?&", "?").rstrip("?"))

    @property
    def file(self) -> Path | None:
        """The file of an SQLite catalog; None where a server keeps it."""
        return Path(self.target) if self.kind == "sqlite" else None

    @property
    def is_absent(self) -> bool:
        """Whether it is a file that is not there yet; a server has to be asked."""
        return self.file is not None and not self.file.is_file()

    @property
    def where(self) -> str:
        """What messages call it: a connection string may hold a password."""
        if self.kind == "sqlite":
            return f"the catalog {self.target}"
        named = f" in the database {self.database}" if self.database else ""
        return f"the catalog{named} of the PostgreSQL server"

    @property
    def database(self) -> str | None:
        """The database that a connection string names; None where it leaves that to its surroundings."""
        uri = _DATABASE_OF_URI.match(self.target)
        if uri is not None:
            return unquote(uri[1]) or None
        found = _DATABASE.findall(self.target)
        return re.sub(r"\\(.)", r"\1", "".join(found[-1])) if found else None

    def with_database(self, name: str) -> "Catalog":
        """Return the catalog with another database of the same server; what comes last counts."""
        if "://" not in self.target:
            return Catalog(self.kind, f"{self.target} dbname={name}")
        return Catalog(self.kind, f"{self.target}{'&' if '?' in self.target else '?'}dbname={name}")
