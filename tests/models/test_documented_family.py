"""The family of docs/models.md works as it is written there."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from emolake.tasks.classify import Engine

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_example_is_a_family() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 30
    made: dict[str, Any] = {}
    exec(compile(code, str(DOCUMENT), "exec"), made)  # our own page
    family = made["Loudness"]
    options = family.Options(threshold=0.2)
    assert family.describe(options).labels == ("neutral", "anger")
    model = family.load(options, device="cpu", precision="fp32")
    quiet, loud = (np.full(16_000, level, np.float32) for level in (0.01, 0.9))
    labels = [model.labels[scores.best] for scores in Engine(model, 32_000).scores([quiet, loud])]
    assert labels == ["neutral", "anger"]
