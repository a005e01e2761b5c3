"""Where a value that is not in the key comes from, as the configuration names it: `metadata:queue`."""

from dataclasses import dataclass

KINDS = {
    "metadata": "user metadata of the object (x-amz-meta-NAME): one request per object",
    "tag": "a tag of the object: one request per object",
    "sidecar": "a value of the JSON object beside the recording (source.sidecar): two requests per object",
    "manifest": "a column of the table of recordings (source.manifest): read once per run",
}
LAST_MODIFIED = "last_modified"


@dataclass(frozen=True)
class Reference:
    """One place that a value comes from."""

    kind: str
    """One of `KINDS`."""
    name: str
    """Name in the metadata or the tags, path in the sidecar with dots between its parts, or column of the manifest."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parsed_reference(text: str) -> Reference:
    """Return the place that a text names.

    >>> parsed_reference("sidecar:call.queue")
    Reference(kind='sidecar', name='call.queue')

    Raises:
        ValueError: it names none.
    """
    kind, _, name = text.partition(":")
    if kind not in KINDS or not name:
        known = ", ".join(f"{each}:NAME" for each in KINDS)
        raise ValueError(f"{text!r} names no place that a value comes from; expected one of {known}")
    return Reference(kind, name)


def sidecar_key(template: str, key: str) -> str:
    """Return the key of a recording's sidecar; the template may hold {key}, {stem} (without ending), {folder}, {name}.

    >>> sidecar_key("{stem}_metadata.json", "2026/11/20/a.wav")
    '2026/11/20/a_metadata.json'
    """
    folder, _, name = key.rpartition("/")
    stem = key[: len(key) - len(name)] + (name.rpartition(".")[0] or name)
    return template.format(key=key, stem=stem, folder=folder, name=name.rpartition(".")[0] or name)


def check_sidecar(template: str) -> None:
    """Check that a template gives a key for every recording.

    Raises:
        ValueError: it does not.
    """
    try:
        one, other = (sidecar_key(template, key) for key in ("a/b.wav", "a/c.wav"))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"sidecar is {template!r}; expected a key made of {{key}}, {{stem}}, {{folder}}, {{name}}"
        ) from error
    if one == other:
        raise ValueError(
            f"sidecar is {template!r}, the same for every recording; use {{stem}} or {{name}}, or a manifest"
        )
