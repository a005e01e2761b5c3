"""One committer for many workers: what finished shards came to is written in groups, each in one transaction.

Transactions of many workers on one day conflict at its guards: of N that begin together, N - 1 have worked for nothing.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Thread
from time import monotonic

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.runs import Run
from emolake.pipeline.scheduling import may_succeed_later
from emolake.schemas.records import AnalysisKey
from emolake.schemas.shard_rows import ShardRows
from emolake.tasks.commit import Committed, commit_shards

_log = logging.getLogger(__name__)

# How often somebody is asked whether more shards will come.
_ASKED_S = 0.1


@dataclass(frozen=True)
class _Waiting:
    """A shard that waits for its commit."""

    name: str
    rows: ShardRows
    future: "Future[Committed]" = field(default_factory=Future)


class GroupCommitter:
    """Commits the shards of a run, in the order in which they come, from a thread of its own.

    While a transaction runs, shards gather for the next one: no shard conflicts with its own run, and none is
    overtaken. A group that fails by what is in it is halved until the shards at fault are alone. One that fails by a
    server, a disk or another writer is tried again as a whole.

        with GroupCommitter(settings.warehouse, key=run.key, run_id=run.run_id) as committer:
            future = committer.submit("2026-11-20, shard 4", rows)  # waits while too many wait
            committed = future.result()
    """

    def __init__(
        self,
        warehouse: WarehouseOptions,
        *,
        key: AnalysisKey,
        run_id: str,
        force: bool = False,
        most: int = 32,
        wait_s: float = 0.0,
        retries: int = 2,
        retry_delay_s: float = 5.0,
        expects_more: Callable[[], bool] = lambda: True,
    ) -> None:
        """Say what is committed, and how.

        Args:
            warehouse: where the lake lies.
            key: model and configuration of the rows.
            run_id: tags the snapshots.
            force: replace also what the ledger holds with the same version, model and configuration.
            most: shards in one transaction; twice as many may wait.
            wait_s: how long others are waited for when the first of a group has come.
            retries: how often a group is tried again that a server, a disk or another writer has failed.
            retry_delay_s: pause before that.
            expects_more: whether another shard may come; nobody waits for it otherwise.
        """
        self._warehouse = warehouse
        self._key = key
        self._run_id = run_id
        self._force = force
        self._most = most
        self.most_waiting = 2 * most
        """How many shards may wait before `submit` does."""
        self._wait_s, self._expects_more = wait_s, expects_more
        self._retrying = Retrying(
            stop=stop_after_attempt(retries + 1),
            wait=wait_fixed(retry_delay_s),
            retry=retry_if_exception(may_succeed_later),
            reraise=True,
        )
        self._queue: Queue[_Waiting | None] = Queue(self.most_waiting)
        self._thread = Thread(target=self._run, name="commit", daemon=True)
        self._connection = ExitStack()
        self._lake: Lake | None = None

    @classmethod
    def of(cls, run: Run, *, expects_more: Callable[[], bool]) -> "GroupCommitter":
        """Return the committer of a run as it is configured."""
        options, engine = run.settings.run, run.settings.engine
        return cls(
            run.settings.warehouse,
            key=run.key,
            run_id=run.run_id,
            force=run.request.replaces,
            most=engine.commit_shards,
            wait_s=engine.commit_wait_s,
            retries=options.shard_retries,
            retry_delay_s=options.shard_retry_delay_s,
            expects_more=expects_more,
        )

    def __enter__(self) -> "GroupCommitter":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        """Commit what was submitted, then end; nothing may be submitted any more."""
        self._queue.put(None)
        self._thread.join()

    @property
    def waiting(self) -> int:
        """How many shards wait for a transaction."""
        return self._queue.qsize()

    def submit(self, name: str, rows: ShardRows) -> "Future[Committed]":
        """Let a shard's rows be committed; wait while as many wait already as may.

        Args:
            name: what the commit is tagged with.
            rows: what the shard came to.

        Returns:
            What becomes of it: what was committed, or what failed, as `commit_shard` would raise it.
        """
        waiting = _Waiting(name, rows)
        self._queue.put(waiting)
        return waiting.future

    def _run(self) -> None:
        try:
            for group in self._groups():
                self._commit(group)
        finally:
            self._close()

    def _groups(self) -> Iterator[list[_Waiting]]:
        """Yield what has gathered while the group before was committed, until the end."""
        while (first := self._queue.get()) is not None:
            group, until, ended = [first], monotonic() + self._wait_s, False
            while len(group) < self._most and not ended:
                remaining = until - monotonic()
                try:
                    more = self._queue.get(timeout=max(0.0, min(remaining, _ASKED_S)))
                except Empty:
                    if remaining > _ASKED_S and self._expects_more():
                        continue
                    break
                if more is None:
                    ended = True
                else:
                    group.append(more)
            yield group
            if ended:
                return

    def _commit(self, group: Sequence[_Waiting]) -> None:
        """Commit a group in one transaction, or as much of it as can be."""
        try:
            found = self._retrying(self._committed, group)
        except Exception as error:  # noqa: BLE001 - goes to whoever submitted the shard
            if len(group) == 1 or may_succeed_later(error):
                for waiting in group:
                    waiting.future.set_exception(error)
                return
            _log.warning("%d shards could not be committed together: %s", len(group), error)
            middle = len(group) // 2
            self._commit(group[:middle])
            self._commit(group[middle:])
            return
        for waiting, committed in zip(group, found, strict=True):
            waiting.future.set_result(committed)

    def _committed(self, group: Sequence[_Waiting]) -> list[Committed]:
        with self._opened() as lake:
            return commit_shards(
                lake,
                [waiting.rows for waiting in group],
                key=self._key,
                run_id=self._run_id,
                message="; ".join(waiting.name for waiting in group),
                force=self._force,
            )

    @contextmanager
    def _opened(self) -> Iterator[Lake]:
        """Give the open lake, opened again after a failure."""
        if self._lake is None:
            self._lake = self._connection.enter_context(open_lake(self._warehouse))
        try:
            with self._lake.explained():
                yield self._lake
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._lake = None
        self._connection.close()
