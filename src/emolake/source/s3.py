"""S3 buckets, and servers that speak S3's protocol."""

from collections.abc import Iterator
from contextlib import closing
from functools import cache, cached_property
from pathlib import Path
from typing import Any

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

from emolake.errors import BadRecordingError, ConfigurationError, Reason
from emolake.source.access import S3Options
from emolake.source.store import Listed, SourceError, TransientSourceError, VersionChangedError
from emolake.source.uris import without_secrets

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

    @cached_property
    def client(self) -> Any:
        """botocore client; made when first used, so that a plan of nothing needs no credentials."""
        return s3_client(self._options)

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects whose key starts with the prefix, in the order of their UTF-8 bytes."""
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                yield Listed(
                    entry["Key"].removeprefix(self.prefix),
                    entry["ETag"].strip('"'),
                    entry["Size"],
                    entry.get("LastModified"),
                )

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

    def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        try:
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)
        except (ClientError, BotoCoreError) as error:
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
        # An endpoint that does not exist is reported at once; boto3 has made its own attempts by now.
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
    """Return what botocore knows of the services: read once for all clients, which is most of what making one costs."""
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
