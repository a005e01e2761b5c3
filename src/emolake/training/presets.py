"""How a network of 317 million parameters is trained on a GPU of some memory: always 16 clips for one step."""

from pydantic import JsonValue

# name -> options of the recipe, by dotted name
PRESETS: dict[str, dict[str, JsonValue]] = {
    # A card of this size may know no bf16.
    "8gb": {"loop.batch": 1, "loop.accumulate": 16, "loop.precision": "fp16", "checkpointing": True},
    "16gb": {"loop.batch": 2, "loop.accumulate": 8, "loop.precision": "fp16", "checkpointing": True},
    "24gb": {"loop.batch": 4, "loop.accumulate": 4, "loop.precision": "bf16", "checkpointing": True},
    "80gb": {"loop.batch": 16, "loop.accumulate": 1, "loop.precision": "bf16", "checkpointing": False},
}
