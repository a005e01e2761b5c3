"""Shards as a cluster has them: waited for in one thread, and done in portions by others."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from emolake.errors import EmolakeError
from emolake.pipeline.dispatcher import EndedShard, Portion
from emolake.pipeline.interrupts import NotBegunError
from emolake.pipeline.scheduling import PartlyFailedError, PlannedShard, ShardFuture
from emolake.schemas.records import Counts, SourceObject
from emolake.tasks.plan import estimated_seconds


class ClusterShard:
    """A shard that was handed to the cluster; see `emolake.pipeline.scheduling.ShardFuture`."""

    def __init__(self, shard: PlannedShard) -> None:
        self.shard = shard
        self._ended: Future[Counts | BaseException] = Future()

    @property
    def objects(self) -> Sequence[SourceObject]:
        """Its recordings."""
        return self.shard.objects

    def add_done_callback(self, callback: Callable[[ShardFuture], None]) -> None:
        """Let `callback` be called when the shard has ended."""
        self._ended.add_done_callback(lambda _: callback(self))

    def outcome(self) -> Counts | BaseException:
        """Wait for the shard's end; return its figures, or what went wrong."""
        return self._ended.result()

    def end(self, ended: "EndedShard[ClusterShard, Counts]") -> None:
        """Note what its portions came to."""
        counts = sum(ended.results, start=Counts())
        if ended.errors:
            said = "; ".join(dict.fromkeys(str(error) for error in ended.errors))
            self._ended.set_result(PartlyFailedError(said, counts))
        elif ended.results:
            self._ended.set_result(counts)
        else:
            self._ended.set_result(NotBegunError("not begun: the run was asked to stop"))


class PortionError(EmolakeError):
    """What a worker said of a portion that failed."""


def portion_name(portion: Portion[ClusterShard]) -> str:
    """Return what messages and commits call a portion."""
    name = portion.shard.shard.name
    return name if portion.is_whole else f"{name}, recordings {portion.first + 1} to {portion.stop}"


def failure(portion: Portion[ClusterShard], said: str) -> PortionError:
    """Return why a portion failed; of a part of its shard with the part's name."""
    return PortionError(said if portion.is_whole else f"{portion_name(portion)}: {said}")


def audio_seconds(item: object) -> float:
    """Return the estimated audio of a recording."""
    assert isinstance(item, SourceObject)
    return estimated_seconds(item)
