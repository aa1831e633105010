"""A toy index with pictures, captions, a sound and a film, and servers for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

import indexer
from retrieval.server.app import make
from tests.helpers import sounds, toy, videos

HOST = "http://localhost"


def source(root: Path) -> Path:
    """Write a manifest of colours, each a picture with a caption and its number of letters, and a sound and a film."""
    toy.folder(root / "source", captions=False)
    rows = [f"{name},{name}.png,Something {name}.,{len(name)},,," for name in toy.COLOURS]
    (root / "source/hum.wav").write_bytes(sounds.wav(sounds.melody(2, 8000), 8000))
    (root / "source/film.mp4").write_bytes(videos.video(videos.steps(40)))
    rows += ["hum,,,,hum.wav,,", "film,,,,,film.mp4,"]
    header = "id,image,caption,letters,audio,video,note"
    (root / "source/m.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return root / "source/m.csv"


def index(root: Path, **options: Any) -> Path:
    """Build the index of ``source``; call it within ``toy.encoders``."""
    encoders = {"audio": "acoustic", "video": "frames:efficientnet-lite0"}
    indexer.build([source(root)], out=root / "index", preset="toy", encoders=encoders, **options)
    return root / "index"


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[str]:
    """Run a real server on a free local port, and yield its address."""
    server = uvicorn.Server(uvicorn.Config(make(folder, **options), port=0, log_level="critical"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),), daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
