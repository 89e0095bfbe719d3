"""PyPI `websockets`, with its default options: echo on /echo, fan-out on /raw/CHANNEL; over TLS with the files CERTIFICATE and KEY.

The contract of every server is in ../load_checks.py.
"""

import asyncio
import collections
import ssl
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

channels: dict[str, set[ServerConnection]] = collections.defaultdict(set)


async def handle(socket: ServerConnection) -> None:
    path = socket.request.path
    if path == "/echo":
        async for message in socket:
            await socket.send(message)
        return
    channels[path].add(socket)
    try:
        async for message in socket:
            broadcast(channels[path], message)
    finally:
        channels[path].remove(socket)


async def main(*files: str) -> None:
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    async with serve(handle, "127.0.0.1", 0, ssl=context) as server:
        print(f"listening edge=127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
