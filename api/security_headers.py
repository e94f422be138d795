"""What every answer tells browsers: to guess nothing, show it in no frame, let other sites read nothing."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""What an answer gets that does not say otherwise itself.

Pages on other origins that CORS lets in are not kept out by Cross-Origin-Resource-Policy: it speaks of
requests made without CORS.
"""
STRICT_TRANSPORT = "max-age=31536000"
"""For a service reached by https: browsers come by https alone for a year, also when they are told http."""


class SecurityHeaders:
    """ASGI middleware: adds the headers to every answer, whatever made it."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        given = {**HEADERS, **({"Strict-Transport-Security": STRICT_TRANSPORT} if https else {})}
        self._raw = [(name.lower().encode(), value.encode()) for name, value in given.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in self._raw if h[0] not in said)]
            await send(message)

        await self._app(scope, receive, with_headers)
