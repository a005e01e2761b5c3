"""The base of every class of options."""

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Options of one part: frozen, and unknown keys are refused.

    The sentence under a field is its description, for `emolake init` and for messages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
