"""The command that serves an index: ``xmodal serve``."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.options import ByRuntime, Device, Index, Moved, OnDevice, Runtime, by_modality


def serve(
    index: Index,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar="XMODAL_TOKEN", help="What whoever asks must know.", show_default=False),
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Where a source's files are now; once for each source."),
    ] = None,
    cors: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Whose pages may use the API too.")
    ] = None,
    max_upload: Annotated[int, typer.Option(metavar="MB", min=1, help="What a request may hold.")] = 100,
    text_encoder: Moved = None,
    image_encoder: Moved = None,
    audio_encoder: Moved = None,
    video_encoder: Moved = None,
    device: OnDevice = Device.AUTO,
    runtime: ByRuntime = Runtime.AUTO,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page to search from, and an API for programs, until interrupted."""
    from retrieval.server.run import run

    def ready(address: str) -> None:
        print(f"serving {index} at {address}", file=sys.stderr)
        if open_browser:
            webbrowser.open(f"{address}?token={token}" if token else address)

    run(
        index,
        host=host,
        port=port,
        ready=ready,
        token=token,
        device=device,
        runtime=runtime,
        encoders=by_modality(text_encoder, image_encoder, audio_encoder, video_encoder),
        roots=root or (),
        origins=cors or (),
        most=max_upload * 2**20,
    )
