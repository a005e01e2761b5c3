"""A family of models that is known as if its distribution were installed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emolake.models import known_families


@contextmanager
def installed_family(name: str, reference: str, *, folder: Path, module_folder: Path) -> Iterator[None]:
    """Let this process, and those that it starts, know a family while the block runs.

    Args:
        name: of the family.
        reference: module:class of its model.
        folder: in which its metadata are written.
        module_folder: where the module lies.
    """
    installed = folder / f"{name}-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[emolake.families]\n{name} = {reference}\n")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(module_folder), *filter(None, [before])])
    sys.path.insert(0, str(folder))
    known_families._registered.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        known_families._registered.cache_clear()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
