"""Values that keys do not hold, looked up for many keys at once."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from emolake.errors import BadRecordingError
from emolake.source.access import SourceOptions
from emolake.source.manifest import Manifest
from emolake.source.references import Reference, sidecar_key
from emolake.source.s3 import S3Source
from emolake.source.s3_attributes import object_metadata, object_tags
from emolake.source.store import Source, SourceError, VersionChangedError

_REQUESTS_AT_ONCE = 16
_MOST_SIDECAR_BYTES = 1 << 20


class Lookup:
    """Named values by key; which requests that takes, `references.KINDS` says.

    Args:
        source: where the recordings lie.
        references: where the value of each name comes from.
        options: where the sidecar and the manifest are.
    """

    def __init__(self, source: Source, references: Mapping[str, Reference], options: SourceOptions) -> None:
        self._source = source
        self._references = references
        self._options = options
        self._manifest: Manifest | None = None
        kinds = {each.kind for each in references.values()}
        self._by_object: dict[str, Callable[[str], Mapping[str, str]]] = {}
        for kind, asked in (("metadata", object_metadata), ("tag", object_tags)):
            if kind in kinds:
                if not isinstance(source, S3Source):
                    raise SourceError(
                        f"{source.uri} is a folder, whose files have no {kind}; use sidecar:PATH or manifest:COLUMN"
                    )
                self._by_object[kind] = _bound(asked, source)
        if "sidecar" in kinds:
            self._by_object["sidecar"] = self._sidecar

    @property
    def names(self) -> frozenset[str]:
        """The names that are looked up."""
        return frozenset(self._references)

    def of(self, keys: Sequence[str]) -> list[dict[str, str]]:
        """Return for each key the values that it has.

        Raises:
            SourceError: the server refuses, or a sidecar or the manifest cannot be read.
        """
        known: list[dict[str, Mapping[str, str]]] = [{} for _ in keys]
        for kind, asked in self._by_object.items():
            with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="lookup") as pool:
                for each, values in zip(known, pool.map(asked, keys), strict=True):
                    each[kind] = values
        columns = sorted({each.name for each in self._references.values() if each.kind == "manifest"})
        if columns:
            rows = self._opened(columns).of(keys)
            for each, key in zip(known, keys, strict=True):
                each["manifest"] = rows.get(key, {})
        return [self._chosen(values) for values in known]

    def _chosen(self, values: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        found = {}
        for name, reference in self._references.items():
            wanted = reference.name.lower() if reference.kind == "metadata" else reference.name
            if value := values[reference.kind].get(wanted):
                found[name] = value
        return found

    def _opened(self, columns: Sequence[str]) -> Manifest:
        if self._manifest is None:
            assert self._options.manifest is not None  # checked with the configuration
            self._manifest = Manifest(
                self._options.manifest,
                key_column=self._options.manifest_key,
                columns=columns,
                source_uri=self._source.object_uri(""),
                options=self._options.s3,
            )
        return self._manifest

    def _sidecar(self, key: str) -> Mapping[str, str]:
        """Return the values of a recording's sidecar by their path; none where there is no sidecar."""
        assert self._options.sidecar is not None  # checked with the configuration
        beside = sidecar_key(self._options.sidecar, key)
        try:
            content = self._content(beside)
            document = None if content is None else json.loads(content)
        except (
            BadRecordingError,
            VersionChangedError,
        ):  # not there, or replaced meanwhile: the next run reads it
            return {}
        except ValueError as error:
            raise SourceError(f"the sidecar {beside!r} is no JSON: {error}") from error
        paths = {each.name for each in self._references.values() if each.kind == "sidecar"}
        return {path: text for path in paths if (text := _text(document, path)) is not None}

    def _content(self, key: str) -> bytes | None:
        """Return the bytes of a sidecar, or None where there is none.

        Raises:
            BadRecordingError: it is not there.
        """
        if (path := self._source.local_path(key)) is not None:
            return path.read_bytes()
        found = next((each for each in self._source.list(key) if each.key == key), None)
        if found is None:
            return None
        if found.size_bytes > _MOST_SIDECAR_BYTES:
            raise SourceError(
                f"the sidecar {key!r} has {found.size_bytes} bytes, expected {_MOST_SIDECAR_BYTES} at most; "
                "correct source.sidecar"
            )
        return b"".join(self._source.read(key, found.version, 0))


def _bound(
    asked: Callable[[S3Source, str], Mapping[str, str]], source: S3Source
) -> Callable[[str], Mapping[str, str]]:
    return lambda key: asked(source, key)


def _text(content: Any, path: str) -> str | None:
    """Return the value at a path of a JSON document as text; None where there is none, or no single one."""
    for part in path.split("."):
        if isinstance(content, list) and part.isdigit() and int(part) < len(content):
            content = content[int(part)]
        elif isinstance(content, dict):
            content = content.get(part)
        else:
            return None
    if content is None or isinstance(content, dict | list):
        return None
    return content if isinstance(content, str) else json.dumps(content)
