"""What a shard commits: its rows of every table, as Arrow tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from emolake.schemas.tables import ANALYSES, RECORDING_DYNAMICS, RECORDINGS, SEGMENTS, Table


@dataclass(frozen=True)
class ShardRows:
    """Rows of one shard: every recording has one in `recordings`, at most one in `analyses`, any number in the others.

    A recording without a row in `analyses` is planned again by the next run.
    """

    recordings: pa.Table
    analyses: pa.Table
    segments: pa.Table
    dynamics: pa.Table

    def by_table(self) -> tuple[tuple[Table, pa.Table], ...]:
        """Return each table of the lake with its rows."""
        return (
            (RECORDINGS, self.recordings),
            (ANALYSES, self.analyses),
            (SEGMENTS, self.segments),
            (RECORDING_DYNAMICS, self.dynamics),
        )

    @classmethod
    def joined(cls, shards: Sequence["ShardRows"]) -> "ShardRows":
        """Return the rows of at least one shard, of which no two have a recording in common, as if of one."""
        if len(shards) == 1:
            return shards[0]
        tables = zip(*([rows for _, rows in shard.by_table()] for shard in shards), strict=True)
        return cls(*(pa.concat_tables(each) for each in tables))

    def without(self, recording_ids: set[str]) -> "ShardRows":
        """Return the rows of the other recordings."""
        if not recording_ids:
            return self
        gone = pa.array(sorted(recording_ids), pa.string())

        def remaining(table: pa.Table) -> pa.Table:
            return table.filter(pc.invert(pc.is_in(table.column("recording_id"), gone)))

        return ShardRows(*(remaining(rows) for _, rows in self.by_table()))
