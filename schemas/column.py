"""What a column is: name, Arrow type, unit, nullability, meaning, allowed values."""

from dataclasses import dataclass, replace

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")
WALL_CLOCK = pa.timestamp("us")
TEXT_MAP = pa.map_(pa.string(), pa.string())
FLOAT_MAP = pa.map_(pa.string(), pa.float32())
DOUBLE_MAP = pa.map_(pa.string(), pa.float64())
COUNT_MAP = pa.map_(pa.string(), pa.int64())

_SQL_TYPES: dict[pa.DataType, str] = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.bool_(): "BOOLEAN",
    TIMESTAMP: "TIMESTAMPTZ",
    WALL_CLOCK: "TIMESTAMP",
    TEXT_MAP: "MAP(VARCHAR, VARCHAR)",
    FLOAT_MAP: "MAP(VARCHAR, FLOAT)",
    DOUBLE_MAP: "MAP(VARCHAR, DOUBLE)",
    COUNT_MAP: "MAP(VARCHAR, BIGINT)",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(pa.int32()): "INTEGER[]",
}


@dataclass(frozen=True)
class Column:
    """One column: `allowed` closes the set of its values, `unit` is SI or a plain word.

    What is `personal` names or quotes somebody, or may: it leaves the lake only where that is asked for.
    """

    name: str
    type: pa.DataType
    description: str
    unit: str | None = None
    nullable: bool = False
    allowed: tuple[str, ...] | None = None
    personal: bool = False

    @property
    def sql_type(self) -> str:
        """Type name in DuckDB's DDL."""
        return _SQL_TYPES[self.type]

    @property
    def field(self) -> pa.Field:
        """Arrow field with the description as metadata."""
        return pa.field(self.name, self.type, self.nullable, {"description": self.description})

    def optional(self, description: str | None = None) -> "Column":
        """Return the same column where it may be NULL."""
        return replace(self, nullable=True, description=description or self.description)
