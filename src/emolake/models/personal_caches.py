"""Which folders a family's options name as caches of personal data, found without a valid model."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from emolake.models.protocol import PersonalCache


def named_folders(options: type[BaseModel], keys: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the folders that keys of [models.NAME] name where the options are marked as `PersonalCache`.

    Defaults count too. The keys need not be valid, so that a folder is found beside a mistake in another key.
    """
    for name, field in options.model_fields.items():
        given = [keys[each] for each in (name, field.alias or name) if each in keys]
        value = given[0] if given else field.get_default(call_default_factory=True, validated_data={})
        if value is PydanticUndefined:
            continue
        if any(isinstance(each, PersonalCache) for each in field.metadata):
            yield from _paths(value)
        else:
            yield from _marked(field.annotation, value)


def _marked(annotation: Any, value: Any) -> Iterator[Path]:
    """Yield the paths in a value whose place in its type is marked: in unions, lists, options of options."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated and any(isinstance(each, PersonalCache) for each in arguments[1:]):
        yield from _paths(value)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        keys = dict(value) if isinstance(value, BaseModel) else value
        if isinstance(keys, Mapping):
            yield from named_folders(annotation, keys)
    else:
        for argument in arguments:
            for part in (value, *_elements(value)):
                yield from _marked(argument, part)


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, str | Path):
        yield Path(value)
    for element in _elements(value):
        yield from _paths(element)


def _elements(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []
