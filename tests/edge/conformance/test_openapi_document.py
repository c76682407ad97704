"""docs/openapi.yaml is OpenAPI, and says neither more nor less than the code does."""

from importlib.metadata import version

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.programs import ROOT

from embedsvc.errors import EmbedsvcError
from embedsvc.v1.openai_pb2 import DESCRIPTOR, CreateEmbeddingRequest
from rest_shim import errors, requests

OF_ENVOY = {"method_not_supported"}


@pytest.fixture(scope="module")
def raw():
    return yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())


@pytest.fixture(scope="module")
def schemas(raw):
    return raw["components"]["schemas"]


def kinds(error=EmbedsvcError):
    yield error
    for kind in error.__subclasses__():
        yield from kinds(kind)


def test_it_is_openapi(raw):
    assert raw["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(raw).iter_errors()) == []


def test_it_is_of_this_version(raw):
    assert raw["info"]["version"] == version("embedsvc")


def test_it_has_every_address_that_is_transcoded(raw):
    service = DESCRIPTOR.services_by_name["OpenAIService"]
    rules = [
        rule
        for method in service.methods
        for option, rule in method.GetOptions().ListFields()
        if option.name == "http"
    ]
    transcoded = {("post", rule.post) if rule.post else ("get", rule.get) for rule in rules}
    written = {(verb, path) for path, item in raw["paths"].items() for verb in item}
    assert {(verb, path.replace("=**", "")) for verb, path in transcoded} == written


def test_a_request_has_the_fields_of_the_proto(schemas):
    written = schemas["CreateEmbeddingRequest"]["properties"]
    assert list(written) == [field.name for field in CreateEmbeddingRequest.DESCRIPTOR.fields]


@pytest.mark.parametrize("field", ["encoding_format", "input_type", "truncation"])
def test_choices_are_those_of_the_code(schemas, field):
    chosen = {
        "encoding_format": [*requests.EncodingFormat],
        "input_type": [*requests.INPUT_TYPES],
        "truncation": [*requests.Truncation],
    }
    assert schemas["CreateEmbeddingRequest"]["properties"][field]["enum"] == [*chosen[field], None]


def test_errors_have_the_types_and_codes_of_the_tree(schemas):
    error = schemas["Error"]["properties"]["error"]["properties"]
    assert set(error["type"]["enum"]) == {kind.openai_type for kind in kinds()}
    assert set(error["code"]["enum"]) == {kind.openai_code for kind in kinds()} | OF_ENVOY


def test_the_error_that_nobody_can_ask_for_is_the_one_that_is_sent(raw):
    example = raw["components"]["responses"]["InternalError"]["content"]["application/json"]["examples"]
    assert errors.to_body(errors.EmbedsvcError("internal error")) == errors.json.dumps(
        example["internal"]["value"]
    )
