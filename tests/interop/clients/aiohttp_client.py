"""PyPI `aiohttp`, permessage-deflate offered. The contract of every client is in ../checks.py."""

import asyncio
import base64
import json
import sys

from aiohttp import ClientSession, WSMsgType


async def main(url: str, last: str) -> None:
    async with ClientSession() as session, session.ws_connect(url, compress=15) as socket:
        print("open", flush=True)
        messages = []
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                messages.append({"text": message.data})
            elif message.type is WSMsgType.BINARY:
                messages.append({"b64data": base64.b64encode(message.data).decode()})
            if message.data == last:
                break
        clean = await socket.close(code=1000) and socket.exception() is None
    print(json.dumps({"messages": messages, "code": socket.close_code, "clean": clean, "deflate": socket.compress > 0}))


asyncio.run(main(*sys.argv[1:]))
