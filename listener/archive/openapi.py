"""OpenAPI 3.1 description of the HTTP API, generated from the schemas that parse requests.

``python -m listener.archive.openapi`` prints ``docs/reference/openapi.json``. A test compares the
two, and a fuzzer checks responses against the description.
"""

import inspect
import json
import sys
from typing import Any, Final

import msgspec

from listener.archive.schema import (
    ERRORS,
    About,
    BlindedRow,
    HealthAnswer,
    KeysAnswer,
    ListAnswer,
    LogAnswer,
    OwnRow,
    Problem,
    ReceiptAnswer,
    RetentionAnswer,
    Ticket,
    VoiceAnswer,
)
from listener.rights import requests

_REQUEST_ERRORS: Final = (400, 403, 404, 408, 413, 415, 422, 431, 503)
_ANSWER_ERRORS: Final = (400, 403, 404, 408, 409, 413, 431, 503)
_NAMES: Final = {
    "LogBody": "Body",
    "LogHead": "Head",
    "KeyProof": "Proof",
    "RightsRequest": "Asked",
    "ListRequest": "List",
    "PlayRequest": "Play",
    "ExportRequest": "Export",
    "EraseRequest": "Erase",
    "RetentionRequest": "Retention",
    "LogRequest": "Log",
    "KeysRequest": "Keys",
    "NewKeyRequest": "NewKey",
    "VoiceRequest": "Voice",
    "HealthAnswer": "Health",
}
"""Published schema names, by class name. They are part of the API; classes may be renamed."""
_REF: Final = "#/components/schemas/"
_ANSWERS: Final = (
    ListAnswer,
    ReceiptAnswer,
    RetentionAnswer,
    LogAnswer,
    KeysAnswer,
    VoiceAnswer,
)


def describe() -> dict[str, Any]:
    """Return the description as a JSON object."""
    named = (
        requests.RightsRequest,
        About,
        HealthAnswer,
        Ticket,
        Problem,
        OwnRow,
        BlindedRow,
        *_ANSWERS,
    )
    _, by_class = msgspec.json.schema_components(named, ref_template=_REF + "{name}")
    schemas = {_published(name): _with_published_names(schema) for name, schema in by_class.items()}
    for schema in schemas.values():
        # Python 3.13 strips the indentation of docstrings at compile time; older versions do not.
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    rows = schemas["LogAnswer"]["properties"]["rows"]
    rows["items"] = {"oneOf": [_ref(OwnRow), _ref(BlindedRow)]}
    description = {
        "openapi": "3.1.0",
        "info": {
            "title": "Earmark archive API: an owner's rights over their clips",
            "version": "1",
            "description": "docs/reference/http-api.md specifies each request and its proof.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {"schemas": schemas},
    }
    whole: dict[str, Any] = _ecma(description)
    return whole


def render() -> str:
    """Return the text of ``docs/reference/openapi.json``."""
    return json.dumps(describe(), indent=1, sort_keys=True) + "\n"


def _paths() -> dict[str, Any]:
    ticket = {
        "name": "ticket",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    }
    answers = {"anyOf": [_ref(kind) for kind in _ANSWERS]}
    binary = {"type": "string", "format": "binary"}
    return {
        "/v1/archive": {
            "get": {
                "operationId": "about",
                "summary": "get the archive's public key and the signed head of its access log",
                "responses": {
                    "200": _json("public key and log head", _ref(About)),
                    **_problems((403, 431, 503)),
                },
            }
        },
        "/v1/health": {
            "get": {
                "operationId": "health",
                "summary": "get the state of the archive process",
                "responses": {
                    "200": _json("it stores clips and answers requests", _ref(HealthAnswer)),
                    **_problems((403, 431)),
                    "503": _json("it does not", _ref(HealthAnswer)),
                },
            }
        },
        "/v1/tickets": {
            "post": {
                "operationId": "ask",
                "summary": "submit a request and get the challenge that authorises it",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": _ref(requests.RightsRequest)}},
                },
                "responses": {
                    "201": _json("a ticket and its challenge", _ref(Ticket)),
                    **_problems(_REQUEST_ERRORS),
                },
            }
        },
        "/v1/tickets/{ticket}": {
            "post": {
                "operationId": "answer",
                "summary": "answer the challenge and get the result of the request",
                "parameters": [ticket],
                "requestBody": {
                    "required": True,
                    "content": {"text/plain": {"schema": {"type": "string", "maxLength": 512}}},
                },
                "responses": {
                    "200": {
                        "description": "the result of the request",
                        "content": {
                            "application/json": {"schema": answers},
                            "application/vnd.earmark.envelope": {"schema": binary},
                            "application/zip": {"schema": binary},
                        },
                    },
                    **_problems(_ANSWER_ERRORS),
                },
            }
        },
    }


def _problems(statuses: tuple[int, ...]) -> dict[str, Any]:
    return {str(status): _json(" or ".join(ERRORS[status]), _ref(Problem)) for status in statuses}


def _json(about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _ref(kind: type) -> dict[str, Any]:
    return {"$ref": _REF + _published(kind.__name__)}


def _published(name: str) -> str:
    return _NAMES.get(name, name)


def _with_published_names(node: Any) -> Any:  # noqa: ANN401 - JSON of any kind
    """Replace class names in titles and references by the published schema names."""
    if isinstance(node, list):
        return [_with_published_names(child) for child in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _published(value)
        if name == "title" and isinstance(value, str)
        else _REF + _published(value.removeprefix(_REF))
        if isinstance(value, str) and value.startswith(_REF)
        else _with_published_names(value)
        for name, value in node.items()
    }


def _ecma(node: Any) -> Any:  # noqa: ANN401 - JSON of any kind
    r"""Return the node with patterns in the syntax of ECMA-262: ``$`` for Python's ``\Z``."""
    if isinstance(node, dict):
        return {
            name: value.replace(r"\Z", "$") if name == "pattern" else _ecma(value)
            for name, value in node.items()
        }
    return [_ecma(child) for child in node] if isinstance(node, list) else node


if __name__ == "__main__":
    sys.stdout.write(render())
