"""The command that serves an index over HTTP: ``xmodal serve``."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.options import (
    Device,
    DeviceOption,
    EncoderFile,
    IndexFolder,
    Runtime,
    RuntimeOption,
    encoders_by_modality,
)


def serve(
    index: IndexFolder,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on. An address that other machines can reach requires --token.",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="XMODAL_TOKEN",
            help="Access token that clients must send, at least 8 characters.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Where a source's files are now, if they were moved; once for each source, in order.",
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Allow web pages of this origin to use the API; repeatable."),
    ] = None,
    max_upload: Annotated[
        int, typer.Option(metavar="MB", min=1, help="Maximum size of a request, in MiB.")
    ] = 100,
    text_encoder: EncoderFile = None,
    image_encoder: EncoderFile = None,
    audio_encoder: EncoderFile = None,
    video_encoder: EncoderFile = None,
    device: DeviceOption = Device.AUTO,
    runtime: RuntimeOption = Runtime.AUTO,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the search page in a browser.")] = False,
) -> None:
    """Serve a search page and an HTTP API, until interrupted (Ctrl-C)."""
    from retrieval.server.run import run

    def announce(address: str) -> None:
        print(f"serving {index} at {address}", file=sys.stderr)
        if open_browser:
            webbrowser.open(f"{address}?token={token}" if token else address)

    run(
        index,
        host=host,
        port=port,
        on_ready=announce,
        token=token,
        device=device,
        runtime=runtime,
        encoders=encoders_by_modality(
            text=text_encoder, image=image_encoder, audio=audio_encoder, video=video_encoder
        ),
        roots=root or (),
        origins=cors or (),
        max_bytes=max_upload * 2**20,
    )
