"""Error responses of the server of ``earmark clips browse``, in the form of the archive's API."""

from starlette.responses import JSONResponse, Response

from listener.browser_page.page_routes import HEADERS


class PageRequestRefused(Exception):
    """A request that gets an error response.

    Attributes:
        status: HTTP status.
        error: the error's word, as in ``docs/reference/browser-page.md``.
        hint: what the person can do, or an empty string.
    """

    def __init__(self, status: int, error: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.hint = hint

    def response(self) -> Response:
        """Return the response."""
        fields = {"error": self.error, "message": str(self), "hint": self.hint}
        return JSONResponse(fields, self.status, headers=HEADERS)
