"""What an object of a bucket carries beside its bytes: user metadata and tags."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from emolake.source.s3 import S3Source
from emolake.source.store import SourceError

_GONE = {"404", "NoSuchKey", "NotFound"}


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
        answer: Mapping[str, Any] = getattr(source.client, operation)(
            Bucket=source.bucket, Key=source.prefix + key
        )
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _GONE:
            return {}
        raise SourceError(
            f"{source.uri} answered {code} to {operation} of {key!r}; what source.dimensions or source.date_from name "
            f"needs the right {right}, and a server that knows it"
        ) from error
    except BotoCoreError as error:
        raise SourceError(f"{source.uri} cannot be asked for {key!r}: {type(error).__name__}") from error
    return answer
