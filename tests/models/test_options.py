"""Every class of options and of a configuration is of one kind: frozen, unknown keys refused, a sentence a field."""

import inspect
from importlib import import_module
from pkgutil import walk_packages

import pytest
from pydantic import BaseModel

import emolake.audio
import emolake.models
from emolake.models.trained_folder import TrainingRecord
from emolake.options import Options

MODULES = [
    import_module(found.name)
    for package in (emolake.audio, emolake.models)
    for found in walk_packages(package.__path__, f"{package.__name__}.")
]
CLASSES = [
    each
    for module in MODULES
    for _, each in inspect.getmembers(module, inspect.isclass)
    if issubclass(each, BaseModel) and each.__module__ == module.__name__
]


def test_there_are_such_classes() -> None:
    assert {"MelOptions", "S3prlOptions", "EncoderHeadConfig"} <= {each.__name__ for each in CLASSES}


@pytest.mark.parametrize("options", CLASSES, ids=lambda each: each.__name__)
def test_a_class_is_of_the_one_kind(options: type[BaseModel]) -> None:
    assert issubclass(options, Options)
    assert options.model_config["frozen"]
    assert options.model_config["extra"] == ("ignore" if options is TrainingRecord else "forbid")
    for name, field in options.model_fields.items():
        assert (field.description or "").endswith("."), f"{options.__name__}.{name} has no sentence"


def test_no_two_classes_have_one_name() -> None:
    named = [
        (name, module.__name__)
        for module in MODULES
        for name, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == module.__name__ and not name.startswith("_")
    ]
    assert len({name for name, _ in named}) == len(named)
