"""What DuckDB knows of the bucket of a lake's data: where it is, and who asks, which may change under a connection."""

import boto3
import duckdb
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import get_session

from emolake.lake.transact import LakeError
from emolake.lake.warehouse import WarehouseOptions
from emolake.source.s3_client import addressing_style
from emolake.sql import literal


class S3Secret:
    """The credentials that the AWS chain gives, in a connection of DuckDB: they live there only."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, warehouse: WarehouseOptions) -> None:
        """Hand them over.

        Raises:
            LakeError: the chain gives none.
        """
        self._connection, self._place = connection, place_of_s3(warehouse)
        self._credentials = _of_chain()
        if self._credentials is None:
            raise LakeError(
                "warehouse.data is on S3, but the AWS chain gives no credentials; set a profile or AWS_ACCESS_KEY_ID"
            )
        self._given: object = None
        self.renew()

    def renew(self) -> None:
        """Hand over what the chain gives now, where that is something else; where it gives nothing, all stays as it is.

        A role's credentials expire after an hour or so and renew themselves; files and the environment are read again.
        """
        try:
            if not isinstance(self._credentials, RefreshableCredentials):
                self._credentials = _of_chain() or self._credentials
            assert self._credentials is not None
            frozen = self._credentials.get_frozen_credentials()
        except (
            BotoCoreError
        ):  # of a file that is being written, or a service that is down: DuckDB says what is refused
            return
        if frozen == self._given:
            return
        keys = {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key, "SESSION_TOKEN": frozen.token}
        options = {name: value for name, value in keys.items() if value} | self._place
        settings = ", ".join(f"{name} {literal(value)}" for name, value in options.items())
        self._connection.execute(f"CREATE OR REPLACE SECRET lake_data (TYPE s3, {settings})")
        self._given = frozen


def _of_chain() -> Credentials | None:
    return boto3.Session().get_credentials()


def place_of_s3(warehouse: WarehouseOptions) -> dict[str, str]:
    """Return what DuckDB's secret says of where a bucket is, without who asks."""
    endpoint_url = warehouse.endpoint_url
    place = {"REGION": boto3.Session().region_name or "us-east-1"}
    style = addressing_style(get_session(), warehouse.addressing or "auto", endpoint_url)
    if style != "auto":
        place["URL_STYLE"] = "path" if style == "path" else "vhost"
    if endpoint_url:
        scheme, _, host = endpoint_url.rpartition("://")
        place |= {"ENDPOINT": host.rstrip("/"), "USE_SSL": "false" if scheme == "http" else "true"}
    return place
