"""Which graph a model in one precision runs as, and whether it is there."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from pydantic import JsonValue

from emolake.models.protocol import EmotionModel, Runtime
from emolake.models.runtimes.graph_cache import GraphCache
from emolake.models.runtimes.quicker_runtime import Quicker, measured, remember, remembered

_EXPORTER = 4  # raise it with every change of how graphs are made

log = logging.getLogger(__name__)


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

    @property
    def quicker(self) -> Quicker | None:
        """What runs the model in less time on this processor; None where that was not measured."""
        return remembered(self.cache.folder(self.recipe))

    @property
    def is_slower(self) -> bool:
        """Whether torch was measured to be much quicker."""
        found = self.quicker
        return found is not None and found.runtime == "torch"

    def measure(self, load: Callable[[Runtime], EmotionModel], *, model: str) -> None:
        """Measure which runtime is quicker, unless that was done, or there is no graph, or it could not be kept.

        Args:
            load: returns the model on a runtime.
            model: its name, for the log.
        """
        folder = self.cache.folder(self.recipe)
        if not self.is_made or not os.access(folder, os.W_OK | os.X_OK) or self.quicker is not None:
            return
        seconds = measured(load)
        try:
            log.info("the model %r runs on %s", model, remember(folder, seconds))
        except OSError as error:  # the entry was swept meanwhile, or the disk is full
            log.warning("what is quicker for the model %r cannot be kept: %s", model, error)
