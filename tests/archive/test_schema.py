"""Responses against their schemas."""

from typing import TYPE_CHECKING

import msgspec
import pytest

from listener.archive import schema
from tests.conftest import ROOT

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.archive.conftest import ClipFactory, OwnerClient


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("list", schema.ListAnswer),
        ("retention", schema.RetentionAnswer),
        ("log", schema.LogAnswer),
        ("keys", schema.KeysAnswer),
    ],
)
def test_responses_match_their_schemas(
    op: str, kind: type, ada: "OwnerClient", clip_factory: "ClipFactory"
) -> None:
    clip_factory.put()

    msgspec.json.decode(ada.request(op).content, type=kind)
    msgspec.json.decode(ada.request_ticket(op).content, type=schema.Ticket)


def test_receipt_and_about_match_their_schemas(
    client: "TestClient", ada: "OwnerClient", clip_factory: "ClipFactory"
) -> None:
    erased = ada.request("erase", clips=[clip_factory.put().clip])

    reply = msgspec.json.decode(erased.content, type=schema.ReceiptAnswer)
    about = msgspec.json.decode(client.get("/v1/archive").content, type=schema.About)

    assert reply.receipt.archive == about.archive


def test_log_row_is_blinded_for_other_owners(ada: "OwnerClient", bob: "OwnerClient") -> None:
    ada.request("list")
    bob.request("list")

    own, other, *_ = ada.request("log").json()["rows"]

    assert msgspec.convert(own, schema.OwnRow).body.owner == "ada"
    assert msgspec.convert(other, schema.BlindedRow).n == 2


@pytest.mark.parametrize("text", ["", "[]", '{"op":"list"}'])
def test_refusal_matches_the_problem_schema(text: str, client: "TestClient") -> None:
    refused = client.post("/v1/tickets", content=text, headers={"content-type": "application/json"})

    problem = msgspec.json.decode(refused.content, type=schema.Problem)

    assert problem.error in schema.ERRORS[refused.status_code]


@pytest.mark.parametrize("status", sorted(schema.ERRORS))
def test_every_error_word_is_documented(status: int) -> None:
    reply = (ROOT / "docs" / "reference" / "http-api.md").read_text("utf-8")
    rows = [line for line in reply.splitlines() if line.startswith("|") and str(status) in line]

    for word in schema.ERRORS[status]:
        assert any(f"`{word}`" in row for row in rows), word
