"""Bodies of bounded size that arrive within bounded time, whatever their length claims to be."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kith.settings import Api
from producers.api.problems import Problem


class Bounding:
    """ASGI middleware. Raises Problem out of `receive`: whoever reads the body hears of it, and reads no further."""

    def __init__(self, app: ASGIApp, settings: Api) -> None:
        self._app, self._most, self._patience_s = app, settings.body_bytes, settings.body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if length.isdigit() and int(length) > self._most:
            raise self._too_large(f"the body has {int(length):,} bytes")
        seen, whole = 0, False
        deadline_s = asyncio.get_running_loop().time() + self._patience_s

        async def bounded() -> Message:
            nonlocal seen, whole
            if whole:
                # What follows the body is the news that the caller has gone, for which streams wait for hours.
                return await receive()
            try:
                async with asyncio.timeout_at(deadline_s):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    408,
                    "body_too_slow",
                    f"the body did not arrive within {self._patience_s:g} s (api.body_s)",
                    limit=self._patience_s,
                    remedy="send fewer or smaller images at a time",
                    headers={"connection": "close"},
                ) from None
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise self._too_large("the body is longer")
            whole = not message.get("more_body", False)
            return message

        await self._app(scope, bounded, send)

    def _too_large(self, what: str) -> Problem:
        return Problem(
            413,
            "body_too_large",
            f"{what}, the limit is {self._most:,} bytes (api.body_bytes)",
            field="body",
            limit=self._most,
            remedy="send the images in several requests, or upload them one by one (POST /v1/uploads)",
            # The rest of the body is not read, so the connection is of no more use.
            headers={"connection": "close"},
        )
