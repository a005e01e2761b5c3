"""Where recordings lie: an S3 bucket or a local folder, behind one interface."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
)

from emolake.errors import BadRecordingError, ConfigurationError, EmolakeError, Reason

# Error codes of S3 and its look-alikes that say "ask again later".
_TRANSIENT_CODES = {
    "500",
    "502",
    "503",
    "504",
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "Throttling",
}
_MISSING_CODES = {"404", "NoSuchKey"}
_REFUSED_CODES = {"403", "AccessDenied", "InvalidObjectState"}


class SourceError(EmolakeError):
    """The source as a whole cannot be used: wrong bucket, credentials, endpoint, or a missing folder."""


class TransientSourceError(SourceError):
    """A request that may succeed when it is made again."""


class VersionChangedError(EmolakeError):
    """The object is no longer the one that was listed."""

    def __init__(self, key: str, version: str, size_bytes: int) -> None:
        super().__init__(f"{key} was replaced while it was read")
        self.version = version
        self.size_bytes = size_bytes


@dataclass(frozen=True)
class Listed:
    """An object of a listing; `key` is relative to the source's URI."""

    key: str
    version: str
    size_bytes: int


@dataclass(frozen=True)
class S3Options:
    """How S3 is reached; credentials come from the usual AWS chain."""

    endpoint_url: str | None = None
    """Of an S3-compatible server; None for AWS."""
    region: str | None = None
    """Region of the bucket; None takes the chain's."""
    connect_timeout_s: float = 10.0
    """How long a connection may take."""
    read_timeout_s: float = 60.0
    """How long the server may be silent."""
    attempts: int = 5
    """How often a request is made before it is given up."""


class Source(Protocol):
    """A tree of objects with keys in which "/" separates folders."""

    uri: str

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects whose key starts with the prefix, in a stable order, without holding them all."""
        ...

    def list_prefixes(self, prefix: str) -> Iterator[str]:
        """Yield the folders (ending in "/") that lie directly under a prefix."""
        ...

    def object_uri(self, key: str) -> str:
        """Return the URI under which the recording is known."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Return the path where the object can be read in place, or None where it must be fetched.

        Raises:
            BadRecordingError: the object is gone, or leads out of the source.
        """
        ...

    def read(self, key: str, version: str, offset: int) -> Iterator[bytes]:
        """Yield the object's bytes from an offset.

        Raises:
            VersionChangedError: the object is another than the one listed.
            TransientSourceError: the connection broke; reading may go on from where it stopped.
            BadRecordingError: the object is gone or may not be read.
        """
        ...


def open_source(uri: str, options: S3Options) -> Source:
    """Return the source behind `s3://bucket[/prefix]` or a folder's path.

    Raises:
        ConfigurationError: another scheme.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return FolderSource(Path(uri))
    if scheme == "file":
        return FolderSource(Path(rest))
    if scheme != "s3":
        raise ConfigurationError(
            f"source.uri is {without_secrets(uri)!r}; expected s3://bucket[/prefix] or a folder"
        )
    return S3Source(uri, options)


def without_secrets(uri: str) -> str:
    """Return a URI without user, password and query, fit for logs and error messages.

    >>> without_secrets("s3://key:secret@bucket/calls?token=x")
    's3://bucket/calls'
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    host = re.split("[/?]", rest, maxsplit=1)[0]
    if "@" in host:
        rest = rest[host.rindex("@") + 1 :]
    elif ":" in host and not host.rpartition(":")[2].isdigit():
        # No port: a secret with a slash in it, as AWS makes them, that was not percent-encoded.
        rest = rest.partition("@")[2] or host.partition(":")[0]
    return f"{scheme}://{rest.partition('?')[0]}"


class S3Source:
    """Objects of a bucket, below an optional prefix."""

    def __init__(self, uri: str, options: S3Options) -> None:
        parts = urlsplit(uri)
        if parts.username or parts.password or parts.query:
            raise ConfigurationError(
                f"source.uri {without_secrets(uri)!r} carries credentials or a query; "
                "give credentials by the AWS chain (environment, profile or role)"
            )
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not bucket:
            raise ConfigurationError(f"source.uri is {uri!r}; expected s3://bucket[/prefix]")
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.uri = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self._options = options

    @cached_property
    def client(self) -> Any:
        """botocore client; made when first used, so that a plan of nothing needs no credentials."""
        return s3_client(self._options)

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects whose key starts with the prefix, in the order of their UTF-8 bytes."""
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                yield Listed(entry["Key"].removeprefix(self.prefix), entry["ETag"].strip('"'), entry["Size"])

    def list_prefixes(self, prefix: str) -> Iterator[str]:
        """Yield the folders directly under a prefix."""
        for page in self._pages(prefix, Delimiter="/"):
            for entry in page.get("CommonPrefixes", ()):
                yield entry["Prefix"].removeprefix(self.prefix)

    def object_uri(self, key: str) -> str:
        """Return `s3://bucket/key` with the key as it is, not percent-encoded."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def local_path(self, key: str) -> Path | None:
        """Return None: an object of a bucket must be fetched."""
        return None

    def read(self, key: str, version: str, offset: int) -> Iterator[bytes]:
        """Yield the object's bytes from an offset, after checking that it is the version that was listed."""
        ranged = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key, **ranged)
            found = answer["ETag"].strip('"')
            if found != version:
                answer["Body"].close()
                now = self.client.head_object(Bucket=self.bucket, Key=self.prefix + key)
                raise VersionChangedError(key, now["ETag"].strip('"'), now["ContentLength"])
            with closing(answer["Body"]) as body:
                yield from body.iter_chunks(1 << 20)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING_CODES:
                raise BadRecordingError(
                    Reason.VANISHED, "listed, but gone when it was read", stage="fetch"
                ) from error
            if code in _REFUSED_CODES:
                raise BadRecordingError(
                    Reason.FETCH_FAILED, f"the server refuses it: {code}", stage="fetch"
                ) from error
            raise self._explained(error) from error
        except BotoCoreError as error:
            raise self._explained(error) from error

    def _pages(self, prefix: str, **arguments: str) -> Iterator[Any]:
        paginator = self.client.get_paginator("list_objects_v2")
        try:
            yield from paginator.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix, **arguments)
        except (ClientError, BotoCoreError) as error:
            raise self._explained(error) from error

    def _explained(self, error: ClientError | BotoCoreError) -> SourceError:
        if isinstance(error, ClientError):
            code = error.response["Error"]["Code"]
            kind = TransientSourceError if code in _TRANSIENT_CODES else SourceError
            remedy = {
                "NoSuchBucket": "create the bucket or correct source.uri",
                "403": "check the credentials and the bucket's policy",
                "AccessDenied": "check the credentials and the bucket's policy",
                "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID or the profile",
                "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY or the profile",
                "ExpiredToken": "renew the session's credentials",
            }.get(code, "see the server's log")
            return kind(f"{self.uri} answered {code}; {remedy}")
        # An endpoint that does not exist is told at once; boto3 has made its own attempts by now.
        transient = isinstance(error, HTTPClientError | IncompleteReadError) and not isinstance(
            error, EndpointConnectionError
        )
        kind = TransientSourceError if transient else SourceError
        endpoint = self._options.endpoint_url
        where = f"{self.uri} at {without_secrets(endpoint)}" if endpoint else self.uri
        return kind(
            f"{where} cannot be reached: {type(error).__name__}; check source.endpoint_url and the credentials"
        )


@cache
def _descriptions() -> Any:
    """What botocore knows of the services: read once for all clients, which is most of what making one costs."""
    return botocore.loaders.create_loader()


def s3_client(options: S3Options) -> Any:
    """Return an S3 client with retries and time-outs."""
    # A session of its own: one that is shared may not make clients in several threads at once, and keeps credentials.
    core = botocore.session.get_session()
    core.register_component("data_loader", _descriptions())
    return core.create_client(
        "s3",
        endpoint_url=options.endpoint_url,
        region_name=options.region,
        config=Config(
            connect_timeout=options.connect_timeout_s,
            read_timeout=options.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": options.attempts},
            # S3-compatible servers rarely answer on bucket.host, and some know no newer checksums.
            s3={"addressing_style": "path"} if options.endpoint_url else {},
            response_checksum_validation="when_required",
            max_pool_connections=32,
        ),
    )


class FolderSource:
    """Files below a folder; keys are paths relative to it with "/" between their parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.uri = f"file://{self.folder.as_posix()}"

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the files whose key starts with the prefix, folder by folder in order of name."""
        parent, _, start = prefix.rpartition("/")
        yield from self._walk(f"{parent}/" if parent else "", start)

    def list_prefixes(self, prefix: str) -> Iterator[str]:
        """Yield the folders directly under a prefix."""
        parent, _, start = prefix.rpartition("/")
        base = f"{parent}/" if parent else ""
        for entry in self._entries(base):
            if entry.name.startswith(start) and entry.is_dir(follow_symlinks=False):
                yield f"{base}{entry.name}/"

    def object_uri(self, key: str) -> str:
        """Return `file://` and the absolute path, not percent-encoded."""
        return f"{self.uri}/{key}"

    def local_path(self, key: str) -> Path | None:
        """Return the file's own path; it is read in place."""
        path = (self.folder / key).resolve()
        if not path.is_relative_to(self.folder):
            raise BadRecordingError(
                Reason.UNSUPPORTED, "a link that leads out of the source's folder", stage="fetch"
            )
        if not path.is_file():
            raise BadRecordingError(Reason.VANISHED, "listed, but gone when it was read", stage="fetch")
        return path

    def read(self, key: str, version: str, offset: int) -> Iterator[bytes]:
        """Yield the file's bytes from an offset."""
        path = self.local_path(key)
        assert path is not None
        with path.open("rb") as file:
            file.seek(offset)
            yield from _chunks(file)

    def _walk(self, base: str, start: str = "") -> Iterator[Listed]:
        for entry in self._entries(base):
            if not entry.name.startswith(start):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(f"{base}{entry.name}/")
            else:
                yield self._listed(base, entry)

    def _listed(self, base: str, entry: "os.DirEntry[str]") -> Listed:
        # Links and sockets are listed too: fetching them tells what is wrong, and nothing goes missing in silence.
        status = entry.stat(follow_symlinks=False)
        if entry.is_file():
            status = entry.stat()
        return Listed(base + entry.name, f"{status.st_size}-{status.st_mtime_ns}", status.st_size)

    def _entries(self, base: str) -> Sequence["os.DirEntry[str]"]:
        if not self.folder.is_dir():
            raise SourceError(
                f"the source's folder {self.folder} does not exist; create it or correct source.uri"
            )
        try:
            with os.scandir(self.folder / base) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(1 << 20):
        yield chunk
