"""Clients of two replicas behind Envoy. Every answer that they get is checked against docs/openapi.yaml."""

import re
import uuid

import httpx
import pytest
import schemathesis
from schemathesis import checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.programs import ROOT

WITHOUT_VERSION = re.compile(r"^/(?=embeddings$|models$|models/)")


@pytest.fixture(scope="session")
def document():
    """docs/openapi.yaml."""
    return schemathesis.openapi.from_path(ROOT / "docs" / "openapi.yaml")


@pytest.fixture(scope="session")
def documented(document):
    """Checks an answer: its status, content type, headers and body are what the document says."""
    checks.load_all_checks()
    kinds = [
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
    ]

    def check(response):
        method = response.request.method
        path = WITHOUT_VERSION.sub("/v1/", response.request.url.path)
        operation = document.find_operation_by_path(method, path)
        if operation is not None and operation.method == method.lower():  # it takes HEAD for GET
            response.read()
            case = operation.Case(path_parameters={"model": path.rpartition("/")[2] or "none"})
            case.validate_response(response, checks=kinds)

    return check


def connect(edge, documented, **headers):
    """A client that sends an id of its own with every request, and has every answer checked."""

    def add_id(request):
        request.headers.setdefault("x-request-id", str(uuid.uuid4()))

    hooks = {"request": [add_id], "response": [documented]}
    return httpx.Client(base_url=edge.url, headers=headers, timeout=60, event_hooks=hooks)


@pytest.fixture(scope="session")
def http(pair, state, documented):
    """A client with a good key."""
    with connect(pair, documented, authorization=f"Bearer {state.api_key}") as client:
        yield client


@pytest.fixture(scope="session")
def stranger(pair, documented):
    """A client without a key."""
    with connect(pair, documented) as client:
        yield client


@pytest.fixture(scope="session")
def post(http):
    """Asks for vectors of an input, under the model's own name unless told otherwise."""

    def send(**fields):
        return http.post("/v1/embeddings", json={"model": "all-MiniLM-L6-v2", **fields})

    return send
