"""Commands whose help shows the default of every option."""

from typing import Any

from typer.core import TyperCommand, TyperOption

OFF = "off"


class DocumentedCommand(TyperCommand):
    """A command that says of its flags too what holds where they are not given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for each in self.params:
            if (
                isinstance(each, TyperOption)
                and each.is_flag
                and not each.secondary_opts
                and each.show_default is True
            ):
                each.show_default = OFF
