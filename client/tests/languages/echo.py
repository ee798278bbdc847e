"""An echo server on Python's websockets, for the client's tests. Prints its port. The path selects what it does:
/greet sends a message first, /push sends three and replies to none, /fragments echoes in fragments, /count replies with
the length of a message."""

import asyncio

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def handle(socket):
    try:
        await reply(socket)
    except ConnectionClosed:
        # The client resets a connection whose reply it rejects.
        pass


async def reply(socket):
    path = socket.request.path
    if path == "/greet":
        await socket.send("welcome")
    if path == "/push":
        for number in range(3):
            await socket.send(f"news {number}")
    async for message in socket:
        if path == "/fragments":
            third = len(message) // 3
            await socket.send([message[:third], message[third : 2 * third], message[2 * third :]])
        elif path == "/count":
            await socket.send(f"{len(message)} received")
        elif path != "/push":
            await socket.send(message)


async def main():
    def select(socket, offered):
        return "echo.v1" if "echo.v1" in offered else None

    # Compression is on, where a client offers it.
    options = {"compression": "deflate", "max_size": None, "select_subprotocol": select}
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
