"""What is answered is what the answers' own description says."""

from typing import TYPE_CHECKING

import msgspec
import pytest

from listener.archive import schema
from tests.conftest import ROOT

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.archive.conftest import Person, Shelf


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("list", schema.ListAnswer),
        ("retention", schema.RetentionAnswer),
        ("log", schema.LogAnswer),
        ("keys", schema.KeysAnswer),
    ],
)
def test_what_is_asked_for_has_every_field_and_no_other(
    op: str, kind: type, ada: "Person", shelf: "Shelf"
) -> None:
    shelf.put()

    msgspec.json.decode(ada.ask(op).content, type=kind)
    msgspec.json.decode(ada.request(op).content, type=schema.Ticket)


def test_a_receipt_and_the_archives_own_words_are_described(
    client: "TestClient", ada: "Person", shelf: "Shelf"
) -> None:
    erased = ada.ask("erase", clips=[shelf.put().clip])

    told = msgspec.json.decode(erased.content, type=schema.ReceiptAnswer)
    about = msgspec.json.decode(client.get("/v1/archive").content, type=schema.About)

    assert told.receipt.archive == about.archive


def test_a_row_is_whole_for_her_whom_it_concerns_and_blinded_for_others(
    ada: "Person", bob: "Person"
) -> None:
    ada.ask("list")
    bob.ask("list")

    hers, his, *_ = ada.ask("log").json()["rows"]

    assert msgspec.convert(hers, schema.OwnRow).body.owner == "ada"
    assert msgspec.convert(his, schema.BlindedRow).n == 2


@pytest.mark.parametrize("text", ["", "[]", '{"op":"list"}'])
def test_a_refusal_is_a_problem(text: str, client: "TestClient") -> None:
    refused = client.post("/v1/tickets", content=text, headers={"content-type": "application/json"})

    problem = msgspec.json.decode(refused.content, type=schema.Problem)

    assert problem.error in schema.ERRORS[refused.status_code]


@pytest.mark.parametrize("status", sorted(schema.ERRORS))
def test_every_error_is_in_the_documents(status: int) -> None:
    told = (ROOT / "docs" / "reference" / "http-api.md").read_text("utf-8")
    rows = [line for line in told.splitlines() if line.startswith("|") and str(status) in line]

    for word in schema.ERRORS[status]:
        assert any(f"`{word}`" in row for row in rows), word
