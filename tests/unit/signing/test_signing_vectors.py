"""docs/signing-vectors.json: what this code makes, what Node makes, and what is written are the same."""

import json
import shutil
import subprocess

import pytest
from support.programs import BIN, ROOT

from embedsvc.signing.canonical import Claim, canonical, digest, sign, signature

FILE = ROOT / "docs" / "signing-vectors.json"
PAGE = (ROOT / "docs" / "signing.md").read_text()
VECTORS = json.loads(FILE.read_text())
CLAIMED = ("method", "digest", "authorization", "time", "nonce", "signer")


def named(vectors):
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def claim(vector):
    return Claim(**{name: vector[name] for name in CLAIMED})


@pytest.mark.parametrize("vector", named(VECTORS["valid"]))
def test_what_is_signed_is_what_is_written(vector):
    assert digest(bytes.fromhex(vector["message_hex"])) == vector["digest"]
    assert digest(vector["authorization"].encode()) == vector["authorization_digest"]
    assert canonical(claim(vector)) == vector["canonical"].encode()


@pytest.mark.parametrize("vector", named(VECTORS["valid"]))
def test_signatures_are_what_is_written(vector):
    secret = bytes.fromhex(vector["secret_hex"])
    assert signature(vector["canonical"].encode(), secret) == vector["signature"]
    assert sign(claim(vector), secret) == [
        ("x-embedsvc-signer", vector["signer"]),
        ("x-embedsvc-time", vector["time"]),
        ("x-embedsvc-nonce", vector["nonce"]),
        ("x-embedsvc-signature", vector["signature"]),
    ]


@pytest.mark.parametrize("vector", named(VECTORS["malformed"]))
def test_malformed_fields_cannot_be_signed(vector):
    [field] = vector.keys() - {"name"}
    with pytest.raises(ValueError, match=field):
        canonical(claim(VECTORS["valid"][0] | vector))


@pytest.fixture(scope="module")
def node():
    """The node of the tests' own set-up, or the machine's."""
    found = shutil.which("node", path=BIN) or shutil.which("node")
    if found is None:
        pytest.skip("this machine has no node")
    return found


def run(node, path):
    script = ROOT / "tests" / "js" / "verify_signing.mjs"
    return subprocess.run([node, script, path], capture_output=True, text=True, timeout=60, check=False)


def test_another_language_agrees(node):
    done = run(node, FILE)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {kind: len(VECTORS[kind]) for kind in ("valid", "malformed")}


@pytest.mark.parametrize("field", ["message_hex", "authorization", "time", "nonce", "signer", "secret_hex"])
def test_it_disagrees_about_a_vector_that_is_altered(node, tmp_path, field):
    vector = VECTORS["valid"][0]
    vector = vector | {field: ("1" if vector[field][0] != "1" else "2") + vector[field][1:]}
    path = tmp_path / "altered.json"
    path.write_text(json.dumps(VECTORS | {"valid": [vector]}))
    done = run(node, path)
    assert done.returncode == 1
    assert vector["name"] in done.stderr


def test_the_page_shows_the_first_vector():
    first = VECTORS["valid"][0]
    assert f"```\n{first['canonical']}\n```" in PAGE
    for name in ("authorization", "secret_hex", "message_hex", "signature"):
        shown = bytes.fromhex(first[name]).decode() if name == "secret_hex" else first[name]
        assert shown in PAGE
