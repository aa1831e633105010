"""The OpenAPI document against a running server: made-up requests, right and wrong, and what comes back.

XMODAL_EXAMPLES=500 asks longer.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import served, toy

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance"
)


def test_no_failure_and_no_answer_that_is_not_described(served_folder, tmp_path):
    known = tmp_path / "known.toml"
    known.write_text('[parameters]\nkey = "red"\n', encoding="utf-8")
    program = Path(sys.executable).with_name("schemathesis")
    if not program.is_file():
        pytest.skip("needs schemathesis")
    examples = os.environ.get("XMODAL_EXAMPLES", "8")
    with toy.encoders(), served.running(served_folder / "index") as address:
        done = subprocess.run(
            [program, "--config-file", known, "run", f"{address}/api/openapi.json", "--checks", CHECKS,
             "--phases", "coverage,fuzzing", "--max-examples", examples, "--seed", "0", "--no-color"],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "9 selected / 9 total" in done.stdout
