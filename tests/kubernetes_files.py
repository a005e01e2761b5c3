"""The documents of deployments/kubernetes."""

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "deployments" / "kubernetes"
DOCUMENTS: list[tuple[str, dict[str, Any]]] = [
    (file.name, document)
    for file in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text("utf-8"))
]


def of_kind(kind: str) -> list[dict[str, Any]]:
    """Return the documents of a kind."""
    return [document for _, document in DOCUMENTS if document["kind"] == kind]
