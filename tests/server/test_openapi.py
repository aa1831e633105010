"""Check a running server against its OpenAPI document with generated valid and invalid requests.

XMODAL_EXAMPLES=500 tries more of them.
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


def test_responses_match_the_openapi_document(served_folder, tmp_path):
    config = tmp_path / "schemathesis.toml"
    config.write_text('[parameters]\nkey = "red"\n', encoding="utf-8")
    program = Path(sys.executable).with_name("schemathesis")
    if not program.is_file():
        pytest.skip("needs schemathesis")
    examples = os.environ.get("XMODAL_EXAMPLES", "8")
    with toy.encoders(), served.running(served_folder / "index") as address:
        done = subprocess.run(
            [program, "--config-file", config, "run", f"{address}/api/openapi.json", "--checks", CHECKS,
             "--phases", "coverage,fuzzing", "--max-examples", examples, "--seed", "0", "--no-color"],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "9 selected / 9 total" in done.stdout
