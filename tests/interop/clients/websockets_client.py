"""PyPI `websockets`, with its default options: permessage-deflate is offered. The contract of every client is in ../checks.py."""

import asyncio
import base64
import json
import sys

from websockets.asyncio.client import connect


async def main(url: str, last: str) -> None:
    async with connect(url) as socket:
        print("open", flush=True)
        messages = []
        data = None
        while data != last:
            data = await socket.recv()
            messages.append({"text": data} if isinstance(data, str) else {"b64data": base64.b64encode(data).decode()})
        await socket.close(1000)
    protocol = socket.protocol
    clean = protocol.close_rcvd is not None and protocol.close_sent is not None
    deflate = any(extension.name == "permessage-deflate" for extension in protocol.extensions)
    print(json.dumps({"messages": messages, "code": socket.close_code, "clean": clean, "deflate": deflate}))


asyncio.run(main(*sys.argv[1:]))
