"""How buckets are named in requests: by the configuration, by AWS's own, and alike for the lake's data in DuckDB."""

from pathlib import Path

import duckdb
import pytest

from emolake.lake.connect import _load_extension
from emolake.lake.s3_secret import S3Secret
from emolake.lake.warehouse import WarehouseOptions
from emolake.source.access import Addressing, S3Options
from emolake.source.s3 import S3Source

from chaos.proxy import Answer, faulty


def asked_of(monkeypatch: pytest.MonkeyPatch, options: S3Options) -> tuple[str, str]:
    """Host and path of what is asked, seen by a proxy for HTTP that takes every host."""
    empty = Answer(200, b"<ListBucketResult><Name>calls</Name></ListBucketResult>")
    with faulty("http://127.0.0.1:1", lambda _: empty) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        list(S3Source("s3://calls", options).list(""))
        return proxy.requests[0].host, proxy.requests[0].path


ENDPOINT = "http://s3.example"


@pytest.mark.parametrize(
    ("addressing", "own", "host", "path"),
    [
        ("auto", None, "s3.example", "/calls"),
        ("path", None, "s3.example", "/calls"),
        ("virtual", None, "calls.s3.example", "/"),
        ("auto", "virtual", "calls.s3.example", "/"),
        ("auto", "path", "s3.example", "/calls"),
        ("auto", "auto", "s3.example", "/calls"),
        ("path", "virtual", "s3.example", "/calls"),
        ("virtual", "path", "calls.s3.example", "/"),
    ],
)
def test_buckets_are_addressed_as_configured_here_or_for_aws(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    addressing: Addressing,
    own: str | None,
    host: str,
    path: str,
) -> None:
    if own is not None:
        (tmp_path / "aws").write_text(
            f"[default]\nregion = eu-central-1\ns3 =\n    addressing_style = {own}\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    options = S3Options(endpoint_url=ENDPOINT, attempts=1, addressing=addressing)
    assert asked_of(monkeypatch, options) == (host, path)


@pytest.mark.parametrize(
    ("addressing", "endpoint", "style"),
    [
        ("auto", ENDPOINT, "path"),
        ("path", ENDPOINT, "path"),
        ("virtual", ENDPOINT, "vhost"),
        ("path", None, "path"),
        ("auto", None, None),
    ],
)
def test_duckdb_addresses_the_data_alike(
    monkeypatch: pytest.MonkeyPatch, addressing: Addressing, endpoint: str | None, style: str | None
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        _load_extension(connection, "httpfs")
        S3Secret(connection, WarehouseOptions(endpoint_url=endpoint, addressing=addressing))
        ((secret,),) = connection.execute("SELECT secret_string FROM duckdb_secrets()").fetchall()
    assert dict(part.split("=", 1) for part in secret.split(";")).get("url_style") == style
