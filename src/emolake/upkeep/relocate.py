"""Relocation: a catalog learns that its files lie where `warehouse.data` says, once all of them are really there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake, LakeError
from emolake.lake.unopened import is_same_place
from emolake.settings import Settings
from emolake.source.uris import without_secrets
from emolake.sql import statement
from emolake.upkeep.data_store import open_data_store

_CATALOG = "__ducklake_metadata_lake"
# Where DuckLake puts a lake's files; its orphans lie there too.
_FOLDER_OF_LAKE = "main/"


class RelocationError(LakeError):
    """The catalog cannot be told that its files lie elsewhere."""


@dataclass(frozen=True)
class Relocation:
    """Where the catalog says that its files are, where they are, and what was found there."""

    old: str
    new: str
    files: int
    bytes: int
    orphans: Sequence[str]
    """Parquet files at the new place that the catalog does not know; `maintain` removes them by their age."""

    @property
    def is_needed(self) -> bool:
        """Whether the catalog says another place."""
        return not is_same_place(self.old, self.new)


def plan_relocation(settings: Settings) -> Relocation:
    """Return what a relocation to `warehouse.data` would change; nothing is changed.

    Raises:
        RelocationError: a file of the catalog is not there in its size, what lies there is not this lake's alone, or a
            run is at work.
    """
    with open_lake(settings.warehouse, read_only=True, any_data=True) as lake:
        return _checked(lake, settings)


def relocate(settings: Settings) -> Relocation:
    """Tell the catalog, in one transaction, that its files lie at `warehouse.data`; return what was found there.

    Raises:
        RelocationError: as of `plan_relocation`, or another relocation was first; the catalog is as it was.
    """
    with open_lake(settings.warehouse, create=False, any_data=True) as lake:
        relocation = _checked(lake, settings)
        if relocation.is_needed:
            kept = _kept(lake)
            paths = {"old": kept, "new": f"{settings.warehouse.data.rstrip('/')}/"}
            lake.retried(lambda: lake.rows(statement("set_data_path"), paths), what="the relocation")
            if _kept(lake) != paths["new"]:
                raise RelocationError(
                    f"another relocation was first: the catalog says {_kept(lake)}; look again"
                )
        return relocation


def _checked(lake: Lake, settings: Settings) -> Relocation:
    old, new = without_secrets(_kept(lake).rstrip("/")), without_secrets(settings.warehouse.data)
    catalog = lake.rows(statement("catalog_files"))
    needed = {path: size for _, path, size, _, state in catalog if state != "waiting"}
    listed = _listed(settings)
    orphans = [
        path for path in listed if path.endswith(".parquet") and path not in {row[1] for row in catalog}
    ]
    relocation = Relocation(old, new, len(needed), sum(needed.values()), orphans)
    if not relocation.is_needed:
        return relocation
    alive_after = datetime.now(UTC) - timedelta(seconds=settings.run.heartbeat_timeout_s)
    if lake.rows(statement("days_of_live_runs"), {"alive_after": alive_after}):
        raise RelocationError(
            f"a run is at work, and goes on writing to {old}; relocate when it has ended (one that died counts as at "
            "work until run.heartbeat_timeout_s after its last sign of life)"
        )
    lost = [path for path, size in needed.items() if listed.get(path) != size]
    if lost:
        found = "is not there" if lost[0] not in listed else f"has {listed[lost[0]]} bytes there"
        raise RelocationError(
            f"{len(lost)} of {len(needed)} files of the catalog are not at {new} as they should be: {lost[0]}, of "
            f"{needed[lost[0]]} bytes, {found}; copy all below {old} to {new} first, the catalog is as it was"
        )
    foreign = [path for path in orphans if not path.startswith(_FOLDER_OF_LAKE)]
    if foreign:
        raise RelocationError(
            f"{new} also holds Parquet files that are not this lake's, such as {foreign[0]}, and `emolake maintain` "
            "would remove them; give the lake a place of its own"
        )
    return relocation


def _kept(lake: Lake) -> str:
    ((path,),) = lake.rows(statement("data_path", catalog=_CATALOG))
    return str(path)


def _listed(settings: Settings) -> dict[str, int]:
    """Return the sizes of the files below `warehouse.data`; none where there is no such folder."""
    data = settings.warehouse.data
    if "://" not in data and not Path(data).is_dir():
        return {}
    return {entry.key: entry.size_bytes for entry in open_data_store(settings).list("")}
