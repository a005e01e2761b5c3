"""What an object of a bucket carries beside its bytes: user metadata and tags."""

from collections.abc import Mapping
from typing import Any

from emolake.source.s3 import S3Source
from emolake.source.s3_client import S3_ERRORS
from emolake.source.s3_errors import code_of, is_missing, is_transient, may_concern_source
from emolake.source.store import SourceError, TransientSourceError


def object_metadata(source: S3Source, key: str) -> Mapping[str, str]:
    """Return the user metadata of an object by name, in small letters; nothing of one that is gone.

    Raises:
        SourceError: the server does not give it.
    """
    answer = _asked(source, "head_object", key, "s3:GetObject")
    return {name.lower(): value for name, value in answer.get("Metadata", {}).items()}


def object_tags(source: S3Source, key: str) -> Mapping[str, str]:
    """Return the tags of an object by name; nothing of one that is gone.

    Raises:
        SourceError: the server does not give them.
    """
    answer = _asked(source, "get_object_tagging", key, "s3:GetObjectTagging")
    return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}


def _asked(source: S3Source, operation: str, key: str, right: str) -> Mapping[str, Any]:
    try:
        return source.ask(operation, Key=source.prefix + key)
    except S3_ERRORS as error:
        if is_missing(error):
            return {}
        if may_concern_source(error):
            raise source.explained(error, f"at {operation} of {key!r}") from error
        kind = TransientSourceError if is_transient(error) else SourceError
        raise kind(
            f"{source.uri} answered {code_of(error)} to {operation} of {key!r}; what source.dimensions or "
            f"source.date_from name needs the right {right}, and a server that knows it"
        ) from error
