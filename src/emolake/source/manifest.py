"""A manifest: a CSV or Parquet table of recordings, joined by key."""

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from emolake.source.access import S3Options
from emolake.source.opening import open_source
from emolake.source.store import Source, SourceError


class Manifest:
    """Columns of a table of recordings, as text, found by the recording's key.

    Args:
        uri: `s3://bucket/key` or the path of a file; Parquet by its ending `.parquet`, else CSV with a header.
        key_column: the column of keys, relative to the source or as whole URIs.
        columns: the columns that are asked for.
        source_uri: what URIs of the source's objects begin with.
        options: how S3 is reached.

    Raises:
        SourceError: it is not there, cannot be read or lacks a column, or has a key twice with different values.
    """

    def __init__(
        self, uri: str, *, key_column: str, columns: Sequence[str], source_uri: str, options: S3Options
    ) -> None:
        self._uri = uri
        table = self._table(_content(uri, options), [key_column, *columns])
        keys = table.column(0)
        keys = pc.if_else(
            pc.starts_with(keys, source_uri), pc.utf8_slice_codeunits(keys, len(source_uri)), keys
        )
        table = table.set_column(0, table.schema.names[0], keys)
        self._rows = table.group_by(table.schema.names, use_threads=False).aggregate([])
        self._columns = list(columns)

    def of(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Return the columns of each of some keys that the manifest holds; an empty cell is left out."""
        found = self._rows.filter(pc.is_in(self._rows.column(0), pa.array(keys, pa.string())))
        rows: dict[str, dict[str, str]] = {}
        for key, *values in zip(*(column.to_pylist() for column in found.columns), strict=True):
            if key in rows:
                raise SourceError(
                    f"the manifest {self._uri} holds {key!r} twice, with different values; leave one of them"
                )
            rows[key] = {name: value for name, value in zip(self._columns, values, strict=True) if value}
        return rows

    def _table(self, content: bytes, wanted: Sequence[str]) -> pa.Table:
        try:
            if self._uri.lower().endswith(".parquet"):
                names = pa.parquet.read_schema(io.BytesIO(content)).names
                self._check(names, wanted)
                table = pa.parquet.read_table(io.BytesIO(content), columns=list(dict.fromkeys(wanted)))
            else:
                header = content.partition(b"\n")[0].decode("utf-8", "replace")
                table = pa.csv.read_csv(
                    io.BytesIO(content),
                    parse_options=pa.csv.ParseOptions(
                        delimiter=max(",;\t|", key=header.count), newlines_in_values=True
                    ),
                    convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(wanted, pa.string())),
                )
                self._check(table.schema.names, wanted)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"the manifest {self._uri} cannot be read: {error}") from error
        columns = [table.column(name).cast(pa.string()) for name in wanted]
        return pa.table(columns, names=[str(place) for place in range(len(wanted))])

    def _check(self, names: Sequence[str], wanted: Sequence[str]) -> None:
        missing = [name for name in wanted if name not in names]
        if missing:
            raise SourceError(
                f"the manifest {self._uri} has no column {', '.join(missing)}; it has {', '.join(names)}"
            )


def _content(uri: str, options: S3Options) -> bytes:
    folder, separator, name = uri.rpartition("/")
    source: Source = open_source(folder if separator else ".", options)
    found = next((each for each in source.list(name) if each.key == name), None)
    if found is None:
        raise SourceError(f"the manifest {uri} is not there; correct source.manifest")
    return b"".join(source.read(name, found.version, 0))
