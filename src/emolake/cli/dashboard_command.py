"""The command that serves the live page."""

from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, required_settings

app = typer.Typer()


@app.command(epilog="Example: `emolake dashboard --port 8600`; then open http://127.0.0.1:8600 in a browser.")
def dashboard(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port to listen on, at 127.0.0.1 and nowhere else.")
    ] = 8501,
    config: ConfigOption = None,
) -> None:
    """Serve a live page over the lake, read-only and on this machine only, until Ctrl-C; needs emolake[dashboard]."""
    path, _ = required_settings(config)
    from emolake.dashboard.server import serve

    serve(path, port)
