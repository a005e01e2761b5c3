"""The client of S3: how buckets are addressed, how often is asked, and which answers are none of S3's."""

import re
from functools import cache
from typing import Any

import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from emolake.source.access import Addressing, S3Options

# What a listing begins with, or an error that came with the status of a success; a prolog may go before it.
_ROOT = re.compile(rb"<(?:\w+:)?(?:ListBucket\w*|Error)\b")
_HEAD_BYTES = 4096
_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,80}?)\s*<", re.IGNORECASE)
_AWS_HOST = re.compile(r"https?://[^/]*\.amazonaws\.com(?:\.cn)?(?:[:/]|$)")


class AnswerError(Exception):
    """An answer that is none of S3's."""


class RedirectedError(AnswerError):
    """The server sends requests elsewhere, and says no region that they could be made for."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


class NoListingError(AnswerError):
    """A success whose body is no listing; the message says what it is."""


class UnreadableAnswerError(AnswerError):
    """An answer with a value in it that is none of its type."""


# What a request can end with.
S3_ERRORS = (ClientError, BotoCoreError, AnswerError)


def s3_client(options: S3Options) -> Any:
    """Return an S3 client with retries and time-outs.

    Raises:
        BotoCoreError: the region or the profile cannot be.
    """
    # A session of its own: one that is shared may not make clients in several threads at once, and keeps credentials.
    core = botocore.session.get_session()
    core.register_component("data_loader", _descriptions())
    client = core.create_client(
        "s3",
        endpoint_url=options.endpoint_url,
        region_name=options.region,
        config=Config(
            connect_timeout=options.connect_timeout_s,
            read_timeout=options.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": options.attempts},
            s3={"addressing_style": addressing_style(core, options.addressing, options.endpoint_url)},
            # Some S3-compatible servers know no newer checksums.
            response_checksum_validation="when_required",
            max_pool_connections=32,
        ),
    )
    # botocore takes a page that is no XML for a fault of the server, and one that is XML for an empty listing. Its own
    # handler is at "s3.*": only what is under a wildcard before it comes first.
    for operation in ("ListObjectsV2", "ListObjects"):
        client.meta.events.register_first(f"before-parse.*.{operation}", _refuse_other_pages)
    client.meta.events.register_first("needs-retry.s3", _refuse_redirects)
    return client


def addressing_style(core: Any, addressing: Addressing, endpoint_url: str | None) -> Addressing:
    """Return how buckets are named in requests: the setting, else AWS's own, else by path on a server of one's own.

    S3-compatible servers rarely answer on bucket.host. AWS's own setting is `s3.addressing_style` of its
    configuration file.

    Args:
        core: session of botocore.
        addressing: `source.addressing`, or what holds for the lake's data.
        endpoint_url: of an S3-compatible server; None for AWS.
    """
    if addressing != "auto":
        return addressing
    own = (core.get_config_variable("s3") or {}).get("addressing_style")
    if own in ("path", "virtual"):
        return "path" if own == "path" else "virtual"
    return "path" if endpoint_url else "auto"


@cache
def _descriptions() -> Any:
    """Return what botocore knows of the services: read once for all clients, which is most of what making one costs."""
    return botocore.loaders.create_loader()


def _refuse_other_pages(response_dict: dict[str, Any], **_: object) -> None:
    """Raise NoListingError for a success without a listing: a console, a proxy's login page, a web server."""
    body: bytes = response_dict["body"]
    if response_dict["status_code"] != 200 or _ROOT.search(body[:_HEAD_BYTES]):
        return
    kind = response_dict["headers"].get("Content-Type", "").partition(";")[0] or "no type"
    title = _TITLE.search(body[:_HEAD_BYTES])
    called = f", {title[1].decode(errors='replace')!r}" if title else ""
    raise NoListingError(f"{kind}{called}" if body.strip() else "an empty page")


def _refuse_redirects(
    response: tuple[Any, dict[str, Any]] | None, request_dict: dict[str, Any], operation: Any, **_: object
) -> None:
    """Raise RedirectedError for a redirect that is not of AWS's regions.

    botocore asks the bucket for its region then, by a request that is redirected too, and so on without end.
    """
    if response is None or not 300 <= response[0].status_code < 400:
        return
    http, parsed = response
    error = parsed.get("Error", {})
    if "x-amz-bucket-region" in http.headers or "Region" in error:
        return
    if _AWS_HOST.match(request_dict["url"]) and operation.name != "HeadBucket":
        return  # its buckets say their region when they are asked
    location = http.headers.get("Location") or error.get("Endpoint") or "a place that it does not name"
    raise RedirectedError(str(location))
