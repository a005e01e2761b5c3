"""Which graph a model in one precision runs as, and whether it is there."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from pydantic import JsonValue

from emolake.models.runtimes.graph_cache import GraphCache

_EXPORTER = 4  # raise it with every change of how graphs are made


@dataclass(frozen=True)
class Graphs:
    """Where the graph of one model in one precision is kept."""

    cache: GraphCache
    fingerprint: str
    precision: str
    check: Callable[[], None] = lambda: None
    """Raises where the model's files are no longer those of the fingerprint."""

    @property
    def recipe(self) -> dict[str, JsonValue]:
        """All that decides the graph."""
        packages = ("torch", "transformers", "onnxruntime")
        return {
            "model": self.fingerprint,
            "precision": self.precision,
            "exporter": _EXPORTER,
            "versions": {name: version(name) for name in packages},
        }

    @property
    def refusal(self) -> str | None:
        """Why the model was refused when its export was last tried."""
        return self.cache.refusal(self.recipe)

    @property
    def is_made(self) -> bool:
        """Whether the graph is in the cache."""
        return self.cache.holds(self.recipe)
