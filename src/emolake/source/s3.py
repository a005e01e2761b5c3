"""S3 buckets, and servers that speak S3's protocol."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from emolake.errors import BadRecordingError, ConfigurationError, EmolakeError, Reason
from emolake.source.access import S3Options
from emolake.source.s3_client import S3_ERRORS, UnreadableAnswerError, s3_client
from emolake.source.s3_errors import (
    explained,
    is_missing,
    is_shorter,
    is_transient,
    lacks_second_version,
    may_concern_source,
    refusal,
)
from emolake.source.store import Listed, SourceError, VersionChangedError
from emolake.source.uris import without_secrets


class S3Source:
    """Objects of a bucket, below an optional prefix."""

    def __init__(self, uri: str, options: S3Options) -> None:
        if without_secrets(uri) != uri:
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
        self._lists_by_marker = False

    @cached_property
    def client(self) -> Any:
        """botocore client; made when first used, so that a plan of nothing needs no credentials."""
        return s3_client(self._options)

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects whose key starts with the prefix, in the order of their UTF-8 bytes."""
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                yield self._listed(entry)

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
            answer = self.ask("get_object", Key=self.prefix + key, **ranged)
            with closing(answer["Body"]) as body:
                found = _version(answer, offset + answer.get("ContentLength", 0))
                if found != version:
                    self._check_replaced(key, version)
                yield from body.iter_chunks(1 << 20)
        except S3_ERRORS as error:
            raise self._on_object(key, version, error) from error

    def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        try:
            self.ask("delete_object", Key=self.prefix + key)
        except S3_ERRORS as error:
            raise self.explained(error, f"when {key!r} was removed") from error

    def _listed(self, entry: Mapping[str, Any]) -> Listed:
        key = entry["Key"].removeprefix(self.prefix)
        if "Size" not in entry:
            raise SourceError(f"{self.uri} lists {key!r} without its size; this server cannot be a source")
        return Listed(key, _version(entry, entry["Size"]), entry["Size"], entry.get("LastModified"))

    def _check_replaced(self, key: str, version: str) -> None:
        """Raise VersionChangedError where the listing has another version of the object by now.

        The listing alone says what a version is: there are servers whose answers to a read have another ETag than
        their listings, or none, and every night would find all of their objects changed.
        """
        for now in self.list(key):
            if now.key == key:
                if now.version != version:
                    raise VersionChangedError(key, now.version, now.size_bytes)
                return
        raise BadRecordingError(Reason.VANISHED, "listed, but gone when it was read", stage="fetch")

    def _on_object(self, key: str, version: str, error: Exception) -> EmolakeError:
        """Return what an error on one object comes to: the object's, unless the source as a whole fails too."""
        met = f"when {key!r} was read"
        if is_missing(error):
            return BadRecordingError(Reason.VANISHED, "listed, but gone when it was read", stage="fetch")
        if is_transient(error):
            return self.explained(error, met)
        try:
            if may_concern_source(error):
                next(iter(self.list(key)), None)
            elif is_shorter(error):
                self._check_replaced(key, version)
        except SourceError:
            return self.explained(error, met)
        except (VersionChangedError, BadRecordingError) as found:
            return found
        return BadRecordingError(Reason.FETCH_FAILED, refusal(error), stage="fetch")

    def _pages(self, prefix: str, **arguments: str) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of a listing; by markers where the server knows the first version of listings only."""
        position: dict[str, str] = {}
        while True:
            asked = {"Prefix": self.prefix + prefix, **arguments, **position}
            try:
                page = self._page(asked)
            except S3_ERRORS as error:
                raise self.explained(error, f"when {prefix!r} was listed") from error
            yield page
            if not page.get("IsTruncated"):
                return
            following = _following(page)
            if not following or following == position:
                raise SourceError(
                    f"{self.uri} says that the listing of {prefix!r} goes on, and not from where; "
                    "what it lists may not be all, so nothing of it is used"
                )
            self._lists_by_marker = "Marker" in following
            position = following

    def _page(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        if not self._lists_by_marker:
            try:
                return self.ask("list_objects_v2", **asked)
            except ClientError as error:
                if not lacks_second_version(error):
                    raise
            page = self.ask("list_objects", **asked)
            self._lists_by_marker = True
            return page
        return self.ask("list_objects", **asked)

    def ask(self, operation: str, **arguments: str) -> Mapping[str, Any]:
        """Return the answer to a request; a value in it that is none of its type is an error as others are.

        Raises:
            S3_ERRORS: what `explained` makes a sentence of.
        """
        try:
            answer: Mapping[str, Any] = getattr(self.client, operation)(Bucket=self.bucket, **arguments)
        except (ResponseParserError, ValueError) as error:
            if isinstance(error, BotoCoreError):
                raise
            raise UnreadableAnswerError(str(error)) from error
        return answer

    def explained(self, error: Exception, met: str) -> SourceError:
        """Return the sentence on what keeps the source from answering; see `s3_errors.explained`."""
        return explained(error, uri=self.uri, endpoint=self._options.endpoint_url, met=met)


def _version(entry: Mapping[str, Any], size_bytes: int) -> str:
    """Return the ETag, or size and time to the second where a server gives none."""
    tag: str = (entry.get("ETag") or "").strip('"')
    modified = entry.get("LastModified")
    return tag or f"{size_bytes}-{int(modified.timestamp()) if modified else ''}"


def _following(page: Mapping[str, Any]) -> dict[str, str]:
    """Return where the next page begins: a token, or in the first version of listings the last of what was listed."""
    if token := page.get("NextContinuationToken"):
        return {"ContinuationToken": token}
    last = [each["Key"] for each in page.get("Contents", ())[-1:]]
    last += [each["Prefix"] for each in page.get("CommonPrefixes", ())[-1:]]
    marker = page.get("NextMarker") or max(last, key=lambda key: key.encode(), default="")
    return {"Marker": marker} if marker else {}
