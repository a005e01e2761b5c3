"""Fetching: broken downloads go on where they broke, replaced objects start over, and nothing ends the run."""

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile

from emolake.errors import BadRecordingError, Reason
from emolake.schemas.records import SourceObject
from emolake.source.access import S3Options
from emolake.source.folder import FolderSource
from emolake.source.s3 import S3Source
from emolake.source.store import Source
from emolake.tasks.decode import AudioReader
from emolake.tasks.fetch import FetchOptions, fetch, fetched

from chaos.proxy import Cut, Request, faulty

OPTIONS = FetchOptions(backoff_s=0.001, download_attempts=4)
MIB = 1 << 20
PASSING = MIB + MIB // 3
CONTENT = np.random.default_rng(0).bytes(3 * MIB + 123)


def item(source: Source, key: str = "a.wav") -> SourceObject:
    (listed,) = source.list(key)
    return SourceObject(
        key, source.object_uri(key), "id", listed.version, listed.size_bytes, date(2026, 11, 20), None, {}
    )


def bucket(url: str, **options: Any) -> S3Source:
    return S3Source("s3://calls", S3Options(endpoint_url=url, attempts=1, **options))


class Cuts:
    """Cut the answers to reads of `a.wav`: `after` gives for the number of the read how many bytes pass, or None."""

    def __init__(
        self, after: Callable[[int], int | None], before_cut: Callable[[], object] = lambda: None
    ) -> None:
        self.after = after
        self.before_cut = before_cut
        self.ranges: list[str | None] = []

    def __call__(self, request: Request) -> Cut | None:
        if request.method != "GET" or request.path != "/calls/a.wav":
            return None
        self.ranges.append(request.range)
        passing = self.after(len(self.ranges))
        return None if passing is None else Cut(passing, self.before_cut)


@pytest.fixture
def calls(s3):
    """URL of the server, and the bucket's folder with one object in it."""
    url, folder = s3
    (folder / "calls" / "a.wav").write_bytes(CONTENT)
    return url, folder / "calls"


def test_an_object_is_downloaded_whole(calls, tmp_path):
    source = bucket(calls[0])
    read, path = fetch(source, item(source), tmp_path / "target", options=OPTIONS)
    assert path == tmp_path / "target"
    assert path.read_bytes() == CONTENT
    assert read == item(source)


def test_a_broken_download_goes_on_where_it_broke(calls, tmp_path):
    cuts = Cuts(after=lambda number: PASSING if number <= 2 else None)
    with faulty(calls[0], cuts) as proxy:
        source = bucket(proxy.url)
        _, path = fetch(source, item(bucket(calls[0])), tmp_path / "target", options=OPTIONS)
    assert path.read_bytes() == CONTENT
    first, *resumed = cuts.ranges
    assert first is None
    assert resumed == [f"bytes={PASSING}-", f"bytes={2 * PASSING}-"]  # what came is kept, to the byte


def test_a_download_that_always_breaks_is_set_aside_for_the_next_run(calls, tmp_path):
    cuts = Cuts(after=lambda _: 100)
    with faulty(calls[0], cuts) as proxy, pytest.raises(BadRecordingError) as caught:
        fetch(bucket(proxy.url), item(bucket(calls[0])), tmp_path / "target", options=OPTIONS)
    assert caught.value.reason is Reason.FETCH_FAILED
    assert caught.value.reason.transient
    assert len(cuts.ranges) == OPTIONS.download_attempts
    assert not (tmp_path / "target").exists()


def test_a_silent_server_is_given_up(calls, tmp_path):
    # The answer's head passes and nothing follows: the read times out instead of waiting for ever.
    held = threading.Event()
    cuts = Cuts(after=lambda _: 100, before_cut=lambda: held.wait(20))
    with faulty(calls[0], cuts) as proxy, pytest.raises(BadRecordingError) as caught:
        source = bucket(proxy.url, read_timeout_s=0.3)
        fetch(
            source,
            item(bucket(calls[0])),
            tmp_path / "target",
            options=FetchOptions(download_attempts=2, backoff_s=0),
        )
    held.set()
    assert caught.value.reason is Reason.FETCH_FAILED


def test_an_object_replaced_after_the_listing_comes_with_its_new_version(calls, tmp_path):
    url, folder = calls
    source = bucket(url)
    listed = item(source)
    (folder / "a.wav").write_bytes(b"another")
    read, path = fetch(source, listed, tmp_path / "target", options=OPTIONS)
    assert path.read_bytes() == b"another"
    assert read == item(source)
    assert read.version != listed.version


def test_an_object_replaced_during_the_download_is_no_mixture(calls, tmp_path):
    url, folder = calls
    new = bytes(reversed(CONTENT))
    cuts = Cuts(
        after=lambda number: 2 * MIB if number == 1 else None,
        before_cut=lambda: (folder / "a.wav").write_bytes(new),
    )
    with faulty(url, cuts) as proxy:
        read, path = fetch(bucket(proxy.url), item(bucket(url)), tmp_path / "target", options=OPTIONS)
    assert path.read_bytes() == new
    assert read == item(bucket(url))
    assert cuts.ranges[0] is None
    assert cuts.ranges[-1] is None


def test_an_object_that_is_gone_is_vanished(calls, tmp_path):
    url, folder = calls
    source = bucket(url)
    listed = item(source)
    (folder / "a.wav").unlink()
    with pytest.raises(BadRecordingError) as caught:
        fetch(source, listed, tmp_path / "target", options=OPTIONS)
    assert (caught.value.reason, caught.value.stage) == (Reason.VANISHED, "fetch")
    assert not (tmp_path / "target").exists()


@dataclass
class Shaky:
    """A source that answers with the parts it was given, whatever is asked."""

    answers: list[bytes]
    offsets: list[int] = field(default_factory=list)
    uri: str = "s3://calls"

    def local_path(self, key: str) -> Path | None:
        return None

    def read(self, key: str, version: str, offset: int) -> Iterator[bytes]:
        self.offsets.append(offset)
        yield self.answers.pop(0)


SHAKY_ITEM = SourceObject("a.wav", "s3://calls/a.wav", "id", "v1", 10, date(2026, 11, 20), None, {})


def test_fewer_bytes_than_listed_are_not_taken_for_the_whole(tmp_path):
    source = Shaky([b"0123", b"456789"])
    _, path = fetch(cast(Source, source), SHAKY_ITEM, tmp_path / "target", options=OPTIONS)
    assert path.read_bytes() == b"0123456789"
    assert source.offsets == [0, 4]


def test_a_server_that_overlooks_ranges_is_read_from_the_start(tmp_path):
    source = Shaky([b"0123", b"0123456789", b"0123456789"])
    _, path = fetch(cast(Source, source), SHAKY_ITEM, tmp_path / "target", options=OPTIONS)
    assert path.read_bytes() == b"0123456789"
    assert source.offsets == [0, 4, 0]


def test_several_come_in_order_with_the_reasons_of_the_bad(calls):
    url, folder = calls
    names = [f"{number}.wav" for number in range(9)]
    for name in names:
        (folder / name).write_bytes(name.encode())
    source = bucket(url)
    items = [item(source, name) for name in names]
    (folder / "3.wav").unlink()
    seen: list[str] = []
    paths: list[Path] = []
    with fetched(source, items, options=OPTIONS.model_copy(update={"parallel_downloads": 3})) as results:
        for each, result in results:
            assert not any(path.exists() for path in paths), "a file outlived its turn"
            if isinstance(result, Path):
                assert result.read_bytes() == each.key.encode()
                paths.append(result)
            else:
                assert result.reason is Reason.VANISHED
            seen.append(each.key)
    assert seen == names
    assert len(paths) == 8


def test_no_more_lie_downloaded_than_were_asked_for(tmp_path):
    begun: list[str] = []

    class Noted(FolderSource):
        def local_path(self, key: str) -> Path | None:
            begun.append(key)
            return super().local_path(key)

    for number in range(20):
        (tmp_path / f"{number:02d}.wav").write_bytes(b"x")
    source = Noted(tmp_path)
    items = [item(source, f"{number:02d}.wav") for number in range(20)]
    with fetched(source, items, options=FetchOptions(parallel_downloads=2)) as results:
        for position, _ in enumerate(results):
            assert len(begun) <= position + 3


def test_in_a_folder_of_the_caller_they_stay_until_the_caller_removes_them(calls, tmp_path):
    url, folder = calls
    source = bucket(url)
    (tmp_path / "own").mkdir()
    for number in range(3):
        (folder / f"{number}.wav").write_bytes(bytes([number]) * 10)
    items = [item(source, f"{number}.wav") for number in range(3)]
    with fetched(source, items, options=OPTIONS, folder=tmp_path / "own") as results:
        paths = [path for _, path in results if isinstance(path, Path)]
    assert {path.parent for path in paths} == {tmp_path / "own"}
    assert [path.read_bytes() for path in paths] == [bytes([number]) * 10 for number in range(3)]


def test_files_of_a_folder_are_read_in_place_and_stay(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"x")
    source = FolderSource(tmp_path)
    with fetched(source, [item(source)] * 2, options=OPTIONS) as results:
        assert [path for _, path in results] == [(tmp_path / "a.wav").resolve()] * 2
    assert (tmp_path / "a.wav").exists()


def test_what_is_no_fault_of_the_object_is_raised(tmp_path):
    class Broken(Shaky):
        def read(self, key: str, version: str, offset: int) -> Iterator[bytes]:
            raise ZeroDivisionError

    with (
        fetched(cast(Source, Broken([])), [SHAKY_ITEM], options=OPTIONS) as results,
        pytest.raises(ZeroDivisionError),
    ):
        next(results)


def test_leaving_early_ends_what_is_under_way(calls):
    source = bucket(calls[0])
    with fetched(source, [item(source)] * 50, options=OPTIONS) as results:
        _, path = next(results)
        assert isinstance(path, Path)
    assert not path.parent.exists()


@pytest.fixture
def gzip_server():
    """URL of a server whose every object is the same WAV, stored and sent with `Content-Encoding: gzip`."""
    body = gzip.compress(wav_bytes())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in {
                "Content-Encoding": "gzip", "Content-Type": "audio/wav", "ETag": '"v1"',
                "Content-Length": str(len(body)),
            }.items():  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", len(body)
        server.shutdown()


def wav_bytes() -> bytes:
    file = BytesIO()
    soundfile.write(file, np.random.default_rng(1).normal(0, 0.1, 16_000), 16_000, format="WAV")
    return file.getvalue()


def test_a_body_that_is_sent_as_gzip_comes_as_stored_and_is_unpacked_by_the_decoder(
    gzip_server, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    url, size = gzip_server
    listed = SourceObject("a.wav", "s3://calls/a.wav", "id", "v1", size, date(2026, 11, 20), None, {})
    _, path = fetch(bucket(url), listed, tmp_path / "target", options=OPTIONS)
    with AudioReader(path, name="a.wav") as reader:
        assert sum(map(len, reader.blocks())) == 16_000
