"""The OpenAPI description against the code."""

import json
import re
from typing import TYPE_CHECKING, get_args

import msgspec

from listener.archive import openapi
from listener.archive.api import Api
from listener.archive.challenges import RequestChallenges
from listener.archive.operations import Operations
from listener.rights import requests
from tests.conftest import ROOT

if TYPE_CHECKING:
    from listener.archive.context import ArchiveContext
    from tests.archive.conftest import FakeClock


def test_openapi_file_matches_the_code() -> None:
    written = (ROOT / "docs" / "reference" / "openapi.json").read_text("utf-8")

    assert written == openapi.render(), (
        "python -m listener.archive.openapi > docs/reference/openapi.json"
    )


def test_every_route_is_described(context: "ArchiveContext", clock: "FakeClock") -> None:
    described = {
        (path, method.upper())
        for path, operations in openapi.describe()["paths"].items()
        for method in operations
    }

    routes = {
        (route.path_format, method)
        for route in Api(context, RequestChallenges(clock), Operations(context)).routes()
        for method in route.methods or ()
        if method != "HEAD"
    }

    assert described == routes


def test_every_request_is_described_with_its_fields() -> None:
    schemas = openapi.describe()["components"]["schemas"]

    for kind in get_args(requests.Request):
        schema = schemas[kind.__name__.removesuffix("Request")]
        names = {field.encode_name for field in msgspec.structs.fields(kind)}
        assert set(schema["properties"]) == names | {"op"}
        assert schema["additionalProperties"] is False


def test_patterns_are_for_every_language() -> None:
    text = json.dumps(openapi.describe())

    assert r"\\Z" not in text
    for pattern in re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', text):
        re.compile(json.loads(f'"{pattern}"'))
