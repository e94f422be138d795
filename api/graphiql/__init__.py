"""GraphiQL at /graphql: a page of ours over the bundle of an installed package, nothing from outside.

The page's own files and the example operations lie in `static`; the editor, React and the WebSocket client
come out of graphene-django-graphiql-static, of which only the static files are used.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_HERE = Path(__file__).parent
_BUNDLE = "graphene_django_graphiql_static"

_HEADERS = {
    # Styles are set by the editor as it runs; scripts come from us alone and none is inline.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}


def page(_: Request) -> Response:
    """The page itself. It takes a token from the fragment of its address, which is never sent here."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


def assets() -> StaticFiles:
    """What the page loads, as an ASGI application to be mounted at /graphql/assets."""
    return _Assets(directory=_HERE / "static", packages=[(_BUNDLE, f"static/{_BUNDLE}")])


class _Assets(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        # Asked about each time, and answered 304: after an upgrade nobody sees half of the old page.
        response.headers["Cache-Control"] = "no-cache"
        return response


_PAGE = (_HERE / "page.html").read_text(encoding="utf-8")
