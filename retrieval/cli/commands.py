"""The command-line application ``xmodal`` with the commands that read an index.

``indexer.cli.main`` adds the commands that write one.
"""

from __future__ import annotations

import typer

from retrieval.cli.evaluate_command import evaluate
from retrieval.cli.failures_command import failures
from retrieval.cli.info_command import info
from retrieval.cli.search_command import search
from retrieval.cli.serve_command import serve
from retrieval.cli.verify_command import verify

app = typer.Typer(
    name="xmodal",
    help="Search pictures, texts, sounds and videos by any of them.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for command in (search, evaluate, serve, info, failures, verify):
    app.command()(command)
