"""Fetch: bring objects to local files, several at once and in order, going on where a download broke."""

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO

from pydantic import Field
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from emolake import telemetry
from emolake.errors import BadRecordingError, Reason
from emolake.options import Options
from emolake.schemas.records import SourceObject
from emolake.source.store import Source, TransientSourceError, VersionChangedError


class FetchOptions(Options):
    """How objects are downloaded; the keys of [fetch]."""

    parallel_downloads: int = Field(4, ge=1)
    """How many objects of a shard are downloaded, or lie downloaded, ahead of the decoder."""
    download_attempts: int = Field(5, ge=1)
    """How often a broken download is taken up again before the recording is set aside until the next run."""
    backoff_s: float = Field(0.5, ge=0)
    """First pause between attempts; it doubles, with a random part."""


@contextmanager
def fetched(
    source: Source, objects: Iterable[SourceObject], *, options: FetchOptions, folder: Path | None = None
) -> "Iterator[Iterator[tuple[SourceObject, Path | BadRecordingError]]]":
    """Give the objects in order with a local path or the reason why there is none, downloading ahead.

    A path lives until the next object is asked for; one that lies in the `folder` of a caller lives until the caller
    removes it. An object that was replaced since it was listed comes with its new version and size.
    """
    with (
        tempfile.TemporaryDirectory(prefix="emolake-") as own_folder,
        ThreadPoolExecutor(options.parallel_downloads, thread_name_prefix="fetch") as pool,
    ):
        target = folder or Path(own_folder)
        pending: deque[Future[tuple[SourceObject, Path | BadRecordingError]]] = deque()
        remaining = enumerate(objects)
        ready = telemetry.Part("emolake.queue.depth", queue="fetch")

        def submit(count: int) -> None:
            for index, item in islice(remaining, count):
                pending.append(pool.submit(_fetch_or_reason, source, item, target / str(index), options))

        def results() -> Iterator[tuple[SourceObject, Path | BadRecordingError]]:
            submit(options.parallel_downloads)
            while pending:
                ready.set(sum(each.done() for each in pending))
                item, result = pending.popleft().result()
                submit(1)
                yield item, result
                if isinstance(result, Path) and result.parent == Path(own_folder):
                    result.unlink()

        try:
            yield results()
        finally:
            ready.set(0)
            for future in pending:
                future.cancel()


def fetch(
    source: Source, item: SourceObject, target: Path, *, options: FetchOptions
) -> tuple[SourceObject, Path]:
    """Return the object as it was read and the path of its bytes: its own in a folder, else `target`.

    Raises:
        BadRecordingError: the object is gone, refused, or broke off in every attempt.
    """
    in_place = source.local_path(item.key)
    if in_place is not None:
        return item, in_place
    retrying = Retrying(
        stop=stop_after_attempt(options.download_attempts),
        wait=wait_random_exponential(multiplier=options.backoff_s, max=30),
        retry=retry_if_exception_type(TransientSourceError),
        reraise=True,
    )
    try:
        with target.open("wb") as file:
            for attempt in retrying:
                with attempt:
                    item = _continue(source, item, file)
    except TransientSourceError as error:
        target.unlink()
        raise BadRecordingError(Reason.FETCH_FAILED, str(error), stage="fetch") from error
    except BadRecordingError:
        target.unlink()
        raise
    return item, target


def _continue(source: Source, item: SourceObject, file: IO[bytes]) -> SourceObject:
    """Download what is still missing, and from the start when the object was replaced meanwhile."""
    try:
        for chunk in source.read(item.key, item.version, file.tell()):
            file.write(chunk)
    except VersionChangedError as changed:
        _start_over(file)
        item = replace(item, version=changed.version, size_bytes=changed.size_bytes)
        try:
            for chunk in source.read(item.key, item.version, 0):
                file.write(chunk)
        except VersionChangedError as again:
            _start_over(file)
            raise TransientSourceError(
                f"{item.uri} was replaced again and again while it was read"
            ) from again
    received = file.tell()
    if received != item.size_bytes:
        if received > item.size_bytes:  # the server does not know ranges: begin again
            _start_over(file)
        raise TransientSourceError(f"{item.uri} gave {received} bytes, expected {item.size_bytes}")
    return item


def _start_over(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _fetch_or_reason(
    source: Source, item: SourceObject, target: Path, options: FetchOptions
) -> tuple[SourceObject, Path | BadRecordingError]:
    try:
        return fetch(source, item, target, options=options)
    except BadRecordingError as error:
        return item, error
