"""The Compose files follow the Compose specification's own schema, which check-jsonschema carries."""

import json
import subprocess

import pytest
from support.programs import BIN


def without_resets(value):
    """What is left when `!reset` has taken its values away, which Compose does before it checks."""
    if isinstance(value, dict):
        return {key: without_resets(item) for key, item in value.items() if item is not None}
    return value


def validate(content: dict, folder) -> subprocess.CompletedProcess[str]:
    path = folder / "compose.json"
    path.write_text(json.dumps(content))
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["compose", "cpu_override", "coolify"])
def test_the_file_follows_the_schema(name, request, tmp_path):
    done = validate(without_resets(request.getfixturevalue(name)), tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_schema_refuses_a_key_that_compose_does_not_know(compose, tmp_path):
    done = validate(compose | {"services": {"embedsvc": {"imagee": "embedsvc"}}}, tmp_path)
    assert done.returncode == 1
    assert "imagee" in done.stdout
