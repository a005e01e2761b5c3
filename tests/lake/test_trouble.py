"""What disks and servers do to a lake: one sentence with the remedy, and nothing of the connection string."""

import duckdb
import pytest

from emolake.lake.trouble import trouble

CATALOG = "dbname=lake host=db password=hunter2"


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ('Could not write file "x": No space left on device', "make room"),
        ("database or disk is full", "make room"),
        (f"INSERT INTO x VALUES ({'1, ' * 400}) failed: database or disk is full", "make room"),
        ("Out of Memory Error: failed to allocate data of size 1 GiB", "more memory"),
        (
            "Unable to connect to URL s3://lake/x: Bad Request (HTTP code 400)\n\nExpiredToken",
            "the credentials",
        ),
        ("error reading 'x' in region 'us-east-1' (HTTP 400 Bad Request)\n\nExpiredToken", "the credentials"),
        (
            "Could not establish connection error for HTTP HEAD to 'http://127.0.0.1:1'",
            "warehouse.data is well",
        ),
        ("server closed the connection unexpectedly", "catalog's server"),
    ],
)
@pytest.mark.parametrize("kind", [duckdb.IOException, duckdb.TransactionException, duckdb.Error])
def test_each_kind_has_its_remedy(kind: type[duckdb.Error], said: str, remedy: str) -> None:
    sentence = trouble(kind(f'"{CATALOG}": {said}'), CATALOG)
    assert sentence is not None
    assert remedy in sentence
    assert "hunter2" not in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "kind", [duckdb.BinderException, duckdb.ConversionException, duckdb.InternalException]
)
def test_a_bug_is_no_trouble(kind: type[duckdb.Error]) -> None:
    assert trouble(kind("No space left on device"), CATALOG) is None
