"""From a URI to the source behind it."""

from pathlib import Path

from emolake.errors import ConfigurationError
from emolake.source.access import S3Options
from emolake.source.folder import FolderSource
from emolake.source.s3 import S3Source
from emolake.source.uris import without_secrets


def open_source(uri: str, options: S3Options) -> S3Source | FolderSource:
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
