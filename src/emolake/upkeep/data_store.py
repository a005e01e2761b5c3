"""The objects below `warehouse.data`, as they lie there."""

from dataclasses import replace

from emolake.settings import Settings
from emolake.source.folder import FolderSource
from emolake.source.opening import open_source
from emolake.source.s3 import S3Source


def open_data_store(settings: Settings) -> S3Source | FolderSource:
    """Return the store of the lake's files; S3 is reached as the source is, on the server of the data."""
    options = replace(settings.source.s3, endpoint_url=settings.warehouse.endpoint_url)
    return open_source(settings.warehouse.data, options)
