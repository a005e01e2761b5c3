"""The reference pages that are made of the program: `python -m tools.docs_reference` writes them, a test compares them.

docs/configuration.md is of the settings' classes and the attributes' docstrings, docs/training_options.md of the
trainers' recipes, docs/commands.md of the command line, docs/tables.md of `schemas/`.
"""

import json
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from emolake.cli.app import app
from emolake.models.known_families import FAMILIES, family_class
from emolake.schemas.dictionary import data_dictionary
from emolake.settings import Settings
from emolake.training.trainer import find_trainer
from emolake.training.trainer_names import TRAINERS

ROOT = Path(__file__).parents[1]

_PLAIN: dict[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Path: "path",
    Any: "anything",
    types.NoneType: "",
}
_BOUNDS: dict[type, tuple[str, str]] = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}

_KEYS_OF = re.compile(r"; the keys of \[\w+\]\.")

_CONFIGURATION = """\
# Configuration

Made by `python -m tools.docs_reference` of the program itself; a test compares them.

One TOML file. A command takes `--config FILE`, or else the file that `EMOLAKE_CONFIG` names, or else
`emolake.toml` in the folder where it is called. `emolake init` writes one with all of this as comments.
Every key may be left out. Unknown keys are refused, and named. Relative paths are relative to the file. No
secret belongs into it: credentials come from the usual AWS chain, from `~/.pgpass` or `PGPASSWORD`, and
from `HF_TOKEN`.

A variable of the environment wins over the file: `EMOLAKE_`, the section, two underscores, the key.

<!-- not run: there is no such bucket -->
```console
$ EMOLAKE_SOURCE__URI=s3://calls EMOLAKE_SEGMENTATION__WINDOW_S=5 emolake doctor
```

| variable | is |
|---|---|
| `EMOLAKE_CONFIG` | the configuration file, where `--config` is left out |
| `EMOLAKE_CACHE` | a folder for what can be computed again, as graphs of models; `~/.cache/emolake` when left out |
| `EMOLAKE_SECTION__KEY` | a key of the configuration |
| `AWS_…` | credentials, profile and region of S3, as every program of AWS reads them |
| `PGPASSWORD` | the password of a PostgreSQL catalog; better in `~/.pgpass` |
| `HF_TOKEN` | a token of the Hugging Face hub, for gated weights |
| `PREFECT_API_URL` | a server of Prefect: runs by hand are then flow runs on it |
| `OMP_NUM_THREADS` | threads of a model on a processor |
"""
_MODELS = """\
## [models.NAME]

Models by name, for `inference.model` and `--model NAME`. A folder that `emolake train` wrote is named by
`path` alone; any other model by `family` and the keys of its family. [models.md](models.md) says what each
family is. For every model, the shipped `default` and `small` included:

| key | type | default | meaning |
|---|---|---|---|
| `family` | text | of the folder's `config.json` | one of the families below |
| `classes` | list of text | all | labels or emotions to keep; the others are dropped before the softmax |
"""
_COMMANDS = """\
# Commands

Made by `python -m tools.docs_reference` of the program itself; a test compares them. `emolake COMMAND
--help` says the same.

Rows go to standard output, everything else to standard error. The exit status is 0 when the command did its
work, 1 when the work failed, 2 when the call or the configuration was wrong; 130 after Ctrl-C and 143 after
SIGTERM. An error is one sentence that names the remedy; `--debug`, anywhere on the line, shows a traceback
with it.

| command | does |
|---|---|
"""
_TRAINING = """\
# Options of trainers

Made by `python -m tools.docs_reference` of the program itself; a test compares them.

What `emolake train --set NAME=VALUE` takes, with the value that holds otherwise. The usual ones have options of
their own ([train](commands.md#train)), and [training.md](training.md) says what they are for. Values are JSON.
"""


def configuration_page() -> str:
    """Return the reference of the configuration as Markdown."""
    return "\n".join(_configuration_lines()).rstrip("\n") + "\n"


def commands_page() -> str:
    """Return the reference of the command line as Markdown."""
    return "\n".join(_command_lines()).rstrip("\n") + "\n"


def training_page() -> str:
    """Return the reference of the trainers' options as Markdown."""
    return "\n".join(_training_lines()).rstrip("\n") + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/configuration.md": configuration_page,
    "docs/training_options.md": training_page,
    "docs/commands.md": commands_page,
    "docs/tables.md": data_dictionary,
}
"""Page -> what makes it."""


def _configuration_lines() -> Iterator[str]:
    yield _CONFIGURATION
    for name, section in Settings.model_fields.items():
        if isinstance(section.default, BaseModel):
            yield from _section(f"[{name}]", type(section.default), section.default)
    yield _MODELS
    for family in sorted(FAMILIES):
        yield f'### family = "{family}"\n'
        yield from _key_table(family_class(family).Options, None)


def _training_lines() -> Iterator[str]:
    yield _TRAINING
    recipes = {name: find_trainer(name).recipe for name in TRAINERS}
    of_class: dict[type[BaseModel], dict[str, BaseModel]] = {}
    for name, recipe in recipes.items():
        of_class.setdefault(type(recipe), {})[name] = recipe
    for trainers in of_class.values():
        yield f"## {', '.join(f'`{name}`' for name in trainers)}\n"
        yield from ("| option | type | default | meaning |", "|---|---|---|---|")
        yield from _recipe_rows(trainers, "")
        yield ""


def _recipe_rows(recipes: Mapping[str, BaseModel], prefix: str) -> Iterator[str]:
    """Yield a row for each option of the recipes of some trainers, all of one class; those of parts by their path."""
    first = next(iter(recipes.values()))
    for name, field in type(first).model_fields.items():
        values = {trainer: getattr(recipe, name) for trainer, recipe in recipes.items()}
        parts = {trainer: value for trainer, value in values.items() if isinstance(value, BaseModel)}
        shown = {trainer: _default(value) for trainer, value in values.items() if trainer not in parts}
        if not shown:
            yield from _recipe_rows(parts, f"{prefix}{name}.")
            continue
        shown |= dict.fromkeys(parts, "the following")
        default = next(iter(shown.values()))
        others = [f"{trainer} {value}" for trainer, value in shown.items() if value != default]
        meaning = _cell(field.description or "")
        yield (
            f"| `{prefix}{name}` | {_cell(_field_type(field))} | {_cell('; '.join([default, *others]))} | {meaning} |"
        )
        yield from _recipe_rows(parts, f"{prefix}{name}.") if parts else ()


def _section(title: str, options: type[BaseModel], values: BaseModel) -> Iterator[str]:
    yield f"## {title}\n"
    for text in _paragraphs(options.__doc__ or ""):
        yield f"{re.sub(_KEYS_OF, '.', text)}\n"
    yield from _key_table(options, values)
    for name, field in options.model_fields.items():
        for nested in _nested(field.annotation):
            yield f"### [[{title.strip('[]')}.{name}]]\n"
            yield from _key_table(nested, None)


def _key_table(options: type[BaseModel], values: BaseModel | None) -> Iterator[str]:
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    for name, field in options.model_fields.items():
        default = (
            getattr(values, name) if values is not None else field.get_default(call_default_factory=True)
        )
        meaning = _cell(field.description or "")
        yield f"| `{name}` | {_cell(_field_type(field))} | {_cell(_default(default))} | {meaning} |"
    yield ""


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "not set"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)}`"


def _field_type(field: FieldInfo) -> str:
    return _type_name(field.annotation) + _bounds(field.metadata)


def _type_name(annotation: Any) -> str:
    """Return what may be written for a key, in words."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0]) + _bounds(arguments[1:])
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(name for name in map(_type_name, arguments) if name)
    if origin is tuple:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return f"table of {_type_name(arguments[1])}"
    return "table" if _nested(annotation) else "text"


def _bounds(metadata: Sequence[Any]) -> str:
    found = [
        inner for each in metadata for inner in (each.metadata if isinstance(each, FieldInfo) else [each])
    ]
    words = [
        f"{sign} {getattr(each, attribute):.6g}"
        for each in found
        for kind, (attribute, sign) in _BOUNDS.items()
        if isinstance(each, kind)
    ]
    return f" {', '.join(words)}" if words else ""


def _nested(annotation: Any) -> list[type[BaseModel]]:
    """Return the classes of options inside of an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for argument in get_args(annotation) for each in _nested(argument)]


def _command_lines() -> Iterator[str]:
    commands = list(_leaves(typer.main.get_command(app), ()))
    yield _COMMANDS.rstrip("\n")
    for name, command in commands:
        yield f"| [`{name}`](#{name.replace(' ', '-')}) | {_cell(_paragraphs(command.help)[0])} |"
    for name, command in commands:
        context = command.context_class(command, info_name=f"emolake {name}")
        usage = re.sub(r"[{}]", "", " ".join(command.collect_usage_pieces(context)))
        yield from ("", f"## {name}", "")
        yield from (line for paragraph in _paragraphs(command.help) for line in (paragraph, ""))
        yield from ("```", f"emolake {name} {usage}".rstrip(), "```", "")
        yield from ("| argument or option | default | meaning |", "|---|---|---|")
        for parameter in command.params:
            yield f"| {_parameter_name(parameter)} | {_parameter_default(parameter)} | {_cell(parameter.help or '')} |"
        if command.epilog:
            yield from ("", " ".join(command.epilog.split()))


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the commands with their names, those of a group behind its name."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, inner in command.commands.items():
        yield from _leaves(inner, (*path, name))


def _parameter_name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}{' …' if parameter.nargs == -1 else ''}`"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} {parameter.metavar or _value_name(parameter)}"


def _value_name(parameter: Any) -> str:
    """Return what stands for an option's value: the choices of an enumeration, or the kind of value in capitals."""
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "\\|".join(f"`{each.value}`" for each in kind)
    return {Path: "PATH", int: "N", float: "X"}.get(kind, "TEXT")


def _parameter_default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return _cell(parameter.show_default)
    if parameter.default in (None, (), []):
        return "not set"
    if isinstance(parameter.default, bool):
        return "on" if parameter.default else "off"
    return f"`{getattr(parameter.default, 'value', parameter.default)}`"


def _paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a docstring, each as one line."""
    return [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]


def _cell(text: str) -> str:
    """Return a text as it is written in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write the pages."""
    for page, made in PAGES.items():
        (ROOT / page).write_text(made(), "utf-8")
        print(f"wrote {page}")


if __name__ == "__main__":
    main()
