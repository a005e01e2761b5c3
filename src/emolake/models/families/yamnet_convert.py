"""Convert YAMNet's weights, a TensorFlow SavedModel or the Keras file yamnet.h5, to a folder of the family "yamnet".

Only a SavedModel needs TensorFlow, which is best kept in an environment of its own:
`python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0 torch==2.13.0 pydantic safetensors`, then this package
with `--no-deps` beside it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from emolake.errors import ConfigurationError
from emolake.models.families.yamnet_class_map import CLASS_MAP_FILE
from emolake.models.families.yamnet_weights import convert_h5, torch_weights, write_folder


def convert_saved_model(folder: Path, out: Path, class_map: Path) -> None:
    """Write a SavedModel, such as the published one, as a folder that needs no TensorFlow.

    Loading a SavedModel builds its graph and runs none of it; only its variables are read.

    Raises:
        ConfigurationError: TensorFlow is not installed, or the folder is no SavedModel of YAMNet.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ConfigurationError(
            "converting a SavedModel needs TensorFlow: python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0, "
            "and run this there; yamnet.h5 needs no TensorFlow"
        ) from error
    if not (folder / "saved_model.pb").is_file():
        raise ConfigurationError(f"{folder} has no saved_model.pb; give a SavedModel folder or yamnet.h5")
    variables = _variables(tf.saved_model.load(str(folder)))
    # Keras 3 calls a variable "kernel" and the layer that holds it by its path; in Keras 2 the name has both.
    named = {getattr(each, "path", each.name): np.asarray(each) for each in variables}
    write_folder(torch_weights(named, folder), out, class_map, source=folder)


def _variables(loaded: Any) -> list[Any]:
    """Return the variables that the loaded functions read; a SavedModel of a plain module has no list of its own."""
    functions = [*loaded.signatures.values()]
    if callable(loaded) and hasattr(loaded.__call__, "concrete_functions"):
        functions += loaded.__call__.concrete_functions
    found = {each.name: each for function in functions for each in function.variables}
    if not found:
        found = {each.name: each for each in getattr(loaded, "variables", ())}
    return list(found.values())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m emolake.models.families.yamnet_convert", description=__doc__
    )
    parser.add_argument("source", type=Path, help="SavedModel folder, or yamnet.h5")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--class-map", type=Path, help=f"{CLASS_MAP_FILE}; that of the source when left out")
    given = parser.parse_args(arguments)
    source: Path = given.source
    beside = source / "assets" if source.is_dir() else source.parent
    class_map: Path = given.class_map or beside / CLASS_MAP_FILE
    try:
        (convert_saved_model if source.is_dir() else convert_h5)(source, given.out, class_map)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    print(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
