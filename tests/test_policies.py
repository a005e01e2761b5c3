"""The policies of deployments/policies allow what the code asks of S3, and nothing else."""

import json
import logging
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import botocore.client
import numpy as np
import pytest
import yaml
from made_site import DAY, Site

from emolake.pipeline.execution import run_here
from emolake.pipeline.run_request import RunRequest
from emolake.settings import MaintainOptions
from emolake.upkeep.erase import erase, requests_by_condition
from emolake.upkeep.maintain import maintain
from emolake.upkeep.verify import verify

from chaos.proxy import Request, faulty

FOLDER = Path(__file__).parents[1] / "deployments" / "policies"
# What an action of S3 is called elsewhere: a permission of Google Cloud Storage, the kind of a token of R2.
GCS = {
    "s3:ListBucket": {"storage.objects.list"},
    "s3:GetObject": {"storage.objects.get"},
    "s3:PutObject": {"storage.objects.create", "storage.multipartUploads.create"},
    "s3:DeleteObject": {"storage.objects.delete"},
}
LISTING = {
    "list-type", "prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type", "marker"
}  # fmt: skip
R2 = {
    "Workers R2 Storage Bucket Item Read": {"s3:ListBucket", "s3:GetObject"},
    "Workers R2 Storage Bucket Item Write": {
        "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
    },
}  # fmt: skip
OPERATIONS = {"ListObjectsV2": "s3:ListBucket", "ListObjects": "s3:ListBucket", "GetObject": "s3:GetObject",
              "HeadObject": "s3:GetObject", "DeleteObject": "s3:DeleteObject"}  # fmt: skip


def action(request: Request) -> tuple[str, str]:
    """The action that a request needs on AWS, and its bucket."""
    bucket, _, key = request.path.strip("/").partition("/")
    query = {part.partition("=")[0] for part in request.query.split("&") if part}
    if not key:
        if request.method == "POST":
            assert query == {"delete"}, request
            return "s3:DeleteObject", bucket
        assert request.method == "GET", request
        assert query <= LISTING
        return "s3:ListBucket", bucket
    if request.method in ("GET", "HEAD"):
        assert query <= {"x-id", "partNumber"}, request
        return "s3:GetObject", bucket
    if request.method == "DELETE":
        assert query <= {"x-id"}, request  # an upload that is aborted would need another
        return "s3:DeleteObject", bucket
    assert request.method in ("PUT", "POST"), request
    return "s3:PutObject", bucket


@pytest.fixture
def asked(
    s3: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[set[tuple[str, str]], set[str]]:
    """What a nightly asks, and a maintenance that finds snapshots and an orphan to remove, a check and an erasure.

    As actions and buckets of all requests, DuckDB's too, and as operations of botocore.
    """
    url, folder = s3
    (folder / "lake").mkdir()
    site = Site(tmp_path)
    site.put("good.wav", np.random.default_rng(0).normal(0, 0.1, (32_000, 1)).astype(np.float32))
    site.put("bad.wav", np.zeros((16_000, 1), np.float32)).write_bytes(b"junk")
    (site.folder / "calls").rename(folder / "calls2")
    (folder / "calls").rmdir()
    (folder / "calls2").rename(folder / "calls")
    operations: set[str] = set()
    called = botocore.client.BaseClient._make_api_call

    def recorded(self: Any, name: str, parameters: dict[str, Any]) -> Any:
        self.meta.events.register_first(
            "before-call.s3", lambda model, **_: operations.add(model.name), unique_id="recorded"
        )
        return called(self, name, parameters)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", recorded)
    with faulty(url, lambda request: None) as proxy:
        source = {"uri": "s3://calls", "endpoint_url": proxy.url, "lookback_days": 0}
        catalog = f"sqlite:{tmp_path / 'catalog.sqlite'}"
        warehouse = {
            "catalog": catalog,
            "data": "s3://lake/data",
            "endpoint_url": proxy.url,
            "addressing": "path",
        }
        at_once = MaintainOptions(file_hours=1e-9, orphan_hours=1e-9).model_copy(
            update={"snapshot_days": 1e-9}
        )
        settings = site.settings(source=source, warehouse=warehouse).model_copy(update={"maintain": at_once})
        run_here(RunRequest("nightly", (DAY,)), settings, logging.getLogger("test"))
        orphan = folder / "lake" / "data" / "main" / "segments" / "orphan.parquet"
        orphan.write_bytes(b"of a run that was killed")
        assert maintain(settings).orphans_removed == 1
        assert not verify(settings).breaches
        assert erase(settings, requests_by_condition(settings, "true"), requested_by="a test").removed_files
    return {action(request) for request in proxy.requests}, operations


def allowed(*files: str) -> set[tuple[str, str]]:
    """Actions and buckets of policies; of that for AWS, which is MinIO's too, when left out."""
    found = set()
    for statement in chain.from_iterable(
        json.loads((FOLDER / file).read_text("utf-8"))["Statement"] for file in files or ("aws.json",)
    ):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        bucket, _, rest = statement["Resource"].removeprefix("arn:aws:s3:::").partition("/")
        assert statement["Effect"] == "Allow"
        assert rest == ("" if actions == ["s3:ListBucket"] else "*")
        found |= {(each, bucket) for each in actions}
    return found


def of_bucket(pairs: Iterable[tuple[str, str]], bucket: str) -> set[str]:
    return {each for each, of in pairs if of == bucket}


def test_the_policy_for_aws_is_what_is_asked(asked: tuple[set[tuple[str, str]], set[str]]) -> None:
    requests, operations = asked
    assert requests == allowed()
    assert {OPERATIONS[name] for name in operations} <= {each for each, _ in requests}
    assert {"ListObjectsV2", "GetObject"} <= operations


def test_the_others_are_the_same_by_other_names() -> None:
    assert allowed("ceph-source.json", "ceph-lake.json") == allowed()
    for role, bucket in (("source", "calls"), ("lake", "lake")):
        policy = json.loads((FOLDER / f"ceph-{role}.json").read_text("utf-8"))
        assert {each for _, each in allowed(f"ceph-{role}.json")} == {bucket}
        assert all(
            each["Principal"] == {"AWS": ["arn:aws:iam:::user/emolake"]} for each in policy["Statement"]
        )
    for role, bucket in (("source", "calls"), ("lake", "lake")):
        permissions = yaml.safe_load((FOLDER / f"gcs-{role}-role.yaml").read_text("utf-8"))[
            "includedPermissions"
        ]
        assert set(permissions) == set().union(*(GCS[each] for each in of_bucket(allowed(), bucket)))
    for policy in json.loads((FOLDER / "r2.json").read_text("utf-8"))["policies"]:
        (resource,), (group,) = policy["resources"], policy["permission_groups"]
        assert R2[group["name"]] == of_bucket(allowed(), resource.rpartition("_")[2])
