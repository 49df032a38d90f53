"""The rights over HTTP: two steps, bounded in size, in time and in who may ask.

Whatever is asked, the answer is one of ``docs/reference/http-api.md``; a request that is none is
told so in JSON. The work is done in threads, so that a slow disk does not stop the others.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from listener.archive.holdings import ArchiveContext
from listener.archive.neighbours import PrivateNetworkOnly
from listener.archive.responses import (
    NO_STORE,
    ChunkedResponse,
    RequestRefused,
    error_response,
    failure_response,
    json_response,
    route_error_response,
)
from listener.archive.rights import Operations, Result, SealedClip
from listener.archive.tickets import LONGEST_ANSWER_BYTES, RequestChallenges
from listener.errors import ConfigError, EarmarkError, UsageError
from listener.rights import requests

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST_S: Final = 10.0
ENVELOPE_TYPE: Final = "application/vnd.earmark.envelope"


class Api:
    """The routes.

    Args:
        holdings: what they are about.
        tickets: the open ones.
        rights: carries out what was proven.
        request_s: how long a body may take to arrive.
    """

    def __init__(
        self,
        holdings: ArchiveContext,
        tickets: RequestChallenges,
        rights: Operations,
        request_s: float = REQUEST_S,
    ) -> None:
        self._holdings = holdings
        self._tickets = tickets
        self._rights = rights
        self._request_s = request_s

    def app(self) -> ASGIApp:
        """Return what a server runs."""
        handlers: dict[Any, Callable[[Request, Any], Response]] = {
            RequestRefused: error_response,
            HTTPException: route_error_response,
            EarmarkError: failure_response,
        }
        return PrivateNetworkOnly(Starlette(routes=self.routes(), exception_handlers=handlers))

    def routes(self) -> list[Route]:
        """Return what can be asked, as ``docs/reference/openapi.json`` describes it."""
        return [
            Route("/v1/archive", self._about, methods=["GET"]),
            Route("/v1/tickets", self._ask_challenge, methods=["POST"]),
            Route("/v1/tickets/{ticket:str}", self._answer, methods=["POST"]),
        ]

    async def _about(self, request: Request) -> Response:
        del request
        head = await run_in_threadpool(self._holdings.head)
        return json_response({"v": 1, "archive": self._holdings.name, "head": head})

    async def _ask_challenge(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RequestRefused(415, "type", "a request is application/json")
        body = await self._body(request, requests.LONGEST_REQUEST_BYTES)
        return await run_in_threadpool(self._issue_challenge, body)

    def _issue_challenge(self, body: bytes) -> Response:
        try:
            request = requests.parse(body)
        except UsageError as error:
            raise RequestRefused(422, "request", str(error), error.hint) from error
        owner = self._holdings.roster().owner(request.owner)
        if owner is None or not owner.active:
            raise RequestRefused(404, "owner", "there is no active owner of this name")
        try:
            issued = self._tickets.issue(owner.name, owner.okey, owner.recipient, request.request)
        except ConfigError as error:
            raise RequestRefused(422, "request", str(error)) from error
        answer = {
            "ticket": issued.ticket,
            "challenge": issued.challenge,
            "request_sha256": issued.request_sha256,
            "expires_s": 300,
        }
        if issued.new_challenge is not None:
            answer["new_challenge"] = issued.new_challenge
        return json_response(answer, 201)

    async def _answer(self, request: Request) -> Response:
        body = await self._body(request, LONGEST_ANSWER_BYTES)
        result = await run_in_threadpool(self._redeem, request.path_params["ticket"], body)
        if isinstance(result, dict):
            return json_response(result)
        if isinstance(result, SealedClip):
            return Response(result.data, media_type=ENVELOPE_TYPE, headers=NO_STORE)
        return ChunkedResponse(result.pieces)

    def _redeem(self, ticket: str, answer: bytes) -> Result:
        verdict = self._tickets.redeem(ticket, answer)
        if verdict is None:
            raise RequestRefused(
                404, "ticket", "there is no such ticket, or no more", "ask for another"
            )
        if not verdict.is_proven:
            self._rights.log_refusal(verdict)
            raise RequestRefused(403, "proof", "this is not the answer; the ticket is used up")
        return self._rights.execute(verdict.ticket)

    async def _body(self, request: Request, longest_bytes: int) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._request_s):
                async for piece in request.stream():
                    body += piece
                    if len(body) > longest_bytes:
                        raise RequestRefused(
                            413, "size", f"at most {longest_bytes} bytes are taken here"
                        )
        except TimeoutError as error:
            raise RequestRefused(408, "slow", "the request did not arrive in time") from error
        except ClientDisconnect as error:
            raise RequestRefused(400, "request", "the request broke off") from error
        return bytes(body)
