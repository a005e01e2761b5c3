"""The objects below `warehouse.data`, as they lie there."""

from dataclasses import replace

from emolake.settings import Settings
from emolake.source.folder import FolderSource
from emolake.source.opening import open_source
from emolake.source.s3 import S3Source


def open_data_store(settings: Settings) -> S3Source | FolderSource:
    """Return the store of the lake's files; S3 is reached as the source is, on the server of the data."""
    warehouse = settings.warehouse
    options = replace(
        settings.source.s3, endpoint_url=warehouse.endpoint_url, addressing=warehouse.addressing or "auto"
    )
    return open_source(warehouse.data, options)
