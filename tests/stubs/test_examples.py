"""examples/: generated stubs call a running server over mTLS, with a key, and read what its errors say."""

import pytest
from support.stubs import NODE_MODULES, run

TEXTS = {"greetings": ["Hello, world", "Guten Tag"], "animals": ["fox", "🦊"]}


def near(rows):
    return [pytest.approx(row[:4], abs=1e-3) for row in rows]


@pytest.fixture(scope="module")
def expected(reference):
    return {name: near(reference.encode(texts)) for name, texts in TEXTS.items()}


@pytest.fixture(params=["the server itself", "Envoy"])
def answers(request, caller, server, edge, state):
    through_envoy = f"127.0.0.1:{edge.grpc_port}"
    return caller.call(through_envoy if request.param == "Envoy" else server.address, state)


def test_a_batch_is_embedded_by_one_call(answers, expected):
    assert answers[0] == ("Embed", expected["greetings"])


def test_batches_of_a_stream_are_embedded_around_a_bad_one(answers, expected):
    streamed = dict(answers[2:])
    assert streamed.keys() == {"greetings", "empty", "animals"}
    assert {name: streamed[name] for name in TEXTS} == expected


def test_a_refusal_names_its_reason_and_the_field_in_a_call_and_in_a_stream(answers):
    for failure in (answers[1][1], dict(answers[2:])["empty"]):
        assert (failure["reason"], failure["field"]) == ("INVALID_REQUEST", "inputs[0]")
        assert "empty" in failure["message"]


def test_typescript_and_what_buf_made_pass_the_strict_compiler(callers):
    assert run(NODE_MODULES / ".bin" / "tsc", cwd=callers["typescript"].folder) == ""


def test_python_has_no_package_but_the_generated_one(callers):
    python = callers["python"]
    where = "import embedsvc.v1.embedding_pb2 as made; print(made.__file__)"
    printed = run(*python.command[:-1], "-c", where, cwd=python.folder, **python.environment)
    assert printed.startswith(str(python.folder / "gen" / "python"))
