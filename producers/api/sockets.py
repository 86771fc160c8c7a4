"""uvicorn's WebSockets, which take a refusal for the answer it is."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class Sockets(WebSocketsSansIOProtocol):
    """As uvicorn has it. A handshake that was answered with a refusal (`websocket.http.response`) counts as answered:
    uvicorn (0.54) forgets to note so, and logs an error for every caller without a key."""

    async def send(self, message: Any) -> None:
        """Pass a message of the application on to the caller."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True
