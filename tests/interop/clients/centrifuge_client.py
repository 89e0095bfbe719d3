"""PyPI `centrifuge-python`: plays one scenario of the client protocol. The contract of such programs is in ../sdk_checks.py."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import sys
import time

import aiohttp
from centrifuge import Client, ClientEventHandler, DeltaType, ReplyError, StreamPosition, SubscriptionEventHandler

WAIT_SECONDS = 20
SECRET = b"the interop checks' secret of 32 bytes"


class Events:
    """A handler of the SDK that keeps what it is told, by name, in order."""

    def __init__(self, harness: "Harness"):
        self._changed = asyncio.Condition()
        for name in ("connecting", "connected", "disconnected", "error", "subscribing", "subscribed", "unsubscribed", "join", "leave"):
            setattr(self, name, [])
            setattr(self, f"on_{name}", self._keeper(name))
        self.data, self.offsets, self.infos = [], [], []
        self._harness = harness

    def _keeper(self, name: str):
        async def keep(context) -> None:
            getattr(self, name).append(context)
            await self._tell()

        return keep

    async def on_publication(self, context) -> None:
        self.data.append(self._harness.decode(context.pub.data))
        self.offsets.append(context.pub.offset)
        self.infos.append(context.pub.info)
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, holds) -> None:
        async with self._changed, asyncio.timeout(WAIT_SECONDS):
            await self._changed.wait_for(lambda: holds(self))


class OfClient(Events, ClientEventHandler):
    pass


class OfSubscription(Events, SubscriptionEventHandler):
    pass


class Harness(contextlib.AsyncExitStack):
    def __init__(self, form: str, edge: str, internal: str):
        super().__init__()
        self.is_json, self.edge, self.internal = form == "json", edge, internal

    async def __aenter__(self):
        self.http = await self.enter_async_context(aiohttp.ClientSession())
        return self

    def client(self, edge: str | None = None, **options) -> Client:
        url = f"ws://{edge or self.edge}/connection/websocket"
        client = Client(url, OfClient(self), use_protobuf=not self.is_json, min_reconnect_delay=0.02, max_reconnect_delay=0.1, **options)
        self.push_async_callback(client.disconnect)
        return client

    async def connected(self, edge: str | None = None, **options) -> Client:
        client = self.client(edge, **options)
        await client.connect()
        await client.ready(WAIT_SECONDS)
        return client

    async def subscribed(self, client: Client, channel: str, **options):
        if "data" in options:
            options["data"] = self.encode(options["data"])
        subscription = client.new_subscription(channel, OfSubscription(self), min_resubscribe_delay=0.02, **options)
        await subscription.subscribe()
        await subscription.events.until(lambda events: events.subscribed)
        return subscription

    def encode(self, data):
        return data if self.is_json else json.dumps(data).encode()

    def decode(self, data):
        return data if self.is_json else json.loads(data)

    async def publish(self, channel: str, *all_data) -> None:
        for data in all_data:
            async with self.http.post(f"http://{self.internal}/api/publish", json={"channel": channel, "data": data}) as answer:
                body = await answer.json()
                assert "result" in body, body

    async def line(self) -> "Line":
        return await self.enter_async_context(Line(self.edge))


class Line(contextlib.AbstractAsyncContextManager):
    """A line to the server that can be cut."""

    def __init__(self, target: str):
        self._target = target.split(":")
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.edge = "{}:{}".format(*self._server.sockets[0].getsockname())
        return self

    async def _accept(self, reader, writer) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._copy(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _copy(source, sink) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    def cut(self) -> None:
        """Ends all connections without a word of WebSocket."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def __aexit__(self, *_exception) -> None:
        self._server.close()
        self.cut()


async def connect(h: Harness) -> None:
    """Who may connect, and what the SDK makes of it when it may not."""
    await h.connected()
    await h.connected(token=token(sub="ada", exp=in_seconds(60)))
    for bad in (token(b"another secret", sub="ada"), "no token"):
        client = h.client(token=bad)
        await client.connect()
        await client.events.until(lambda events: events.disconnected)
        assert client.events.disconnected[0].code == 3500
    renewals = iter([token(sub="ada", exp=in_seconds(60))])

    async def get_token() -> str:
        return next(renewals)

    client = await h.connected(token=token(sub="ada", exp=in_seconds(-1)), get_token=get_token)
    await h.subscribed(client, "room:renewed")
    assert [context.error.code for context in client.events.error] == [109]


async def ask(h: Harness) -> None:
    """Publications both ways, history, presence, and what is refused."""
    ada, bob = await h.connected(token=token(sub="ada")), await h.connected(token=token(sub="bob"))
    for channel in ("room:python", "room:Grüße 世界/🐦"):
        subscription = await h.subscribed(ada, channel, join_leave=True)
        events = subscription.events
        other = await h.subscribed(bob, channel)
        await events.until(lambda events: any(context.info.user == "bob" for context in events.join))
        await h.publish(channel, {"from": "backend"})
        await other.publish(h.encode({"from": "Grüße 🐦"}))
        await events.until(lambda events: len(events.data) == 2)
        assert (events.data, events.offsets) == ([{"from": "backend"}, {"from": "Grüße 🐦"}], [1, 2])
        assert events.infos[1].user == "bob"

        history = await subscription.history(limit=10)
        assert [h.decode(publication.data) for publication in history.publications] == events.data
        assert history.offset == 2
        history = await subscription.history(limit=10, since=StreamPosition(1, history.epoch))
        assert [publication.offset for publication in history.publications] == [2]
        history = await subscription.history(limit=1, reverse=True)
        assert [publication.offset for publication in history.publications] == [2]

        present = await subscription.presence()
        assert sorted(info.user for info in present.clients.values()) == ["ada", "bob"]
        stats = await subscription.presence_stats()
        assert (stats.num_clients, stats.num_users) == (2, 2)
        await other.unsubscribe()
        await events.until(lambda events: events.leave)
        assert await refused(bob.history(channel)) == 103
    assert await refused(bob.publish("news:python", h.encode(1))) == 103
    assert await refused(ada.rpc("nothing", h.encode(1))) == 104


async def tokens(h: Harness) -> None:
    """Tokens are renewed in time, and after an old one the backend is asked again."""
    counts = {"connection": 0, "subscription": 0}

    def renewing(name: str, **claims):
        async def get_token(*_channel) -> str:
            counts[name] += 1
            return token(**claims, exp=in_seconds({1: 2, 2: -1}.get(counts[name], 60)))

        return get_token

    quiet = await h.connected(token=token(sub="eve"))
    get_token = renewing("subscription", sub="eve", channel="private:python")
    subscription = await h.subscribed(quiet, "private:python", get_token=get_token)
    client = await h.connected(get_token=renewing("connection", sub="ada"))
    await client.events.until(lambda events: len(events.connected) == 2)
    assert client.events.connecting[1].code == 3005
    await subscription.events.until(lambda events: len(events.subscribed) == 2)
    assert subscription.events.subscribing[1].code == 2501
    assert not client.events.disconnected and not subscription.events.unsubscribed


async def recovery(h: Harness) -> None:
    """The line is cut again and again while publications go on: nothing is lost, nothing comes twice."""
    line = await h.line()
    client = await h.connected(line.edge, token=token(sub="ada", channels=["news:python-token"]))
    subscriptions = [
        await h.subscribed(client, "news:python-cut"),
        await h.subscribed(client, "news:python-cut-delta", delta=DeltaType.FOSSIL),
    ]
    published = [{"n": n, "text": "Grüße, 世界 🐦" * 3} for n in range(1, 201)]
    for cuts, data in enumerate(published, start=1):
        if data["n"] % 50 == 0:
            line.cut()
        for channel in ("news:python-token", *(subscription.channel for subscription in subscriptions)):
            await h.publish(channel, data)
        if data["n"] % 50 == 0:
            await client.events.until(lambda events: len(events.connected) > data["n"] // 50)
    for events in (client.events, *(subscription.events for subscription in subscriptions)):
        await events.until(lambda events: len(events.data) >= len(published))
        assert events.data == published
        assert events.offsets == [data["n"] for data in published]
    for subscription in subscriptions:
        assert all(context.recovered for context in subscription.events.subscribed[1:])


async def values(h: Harness) -> None:
    """Deltas, the last value at once, and fewer updates."""
    client = await h.connected()
    published = [{"n": n, "depth": [[level, n if level == n % 40 else 0] for level in range(40)]} for n in range(150)]
    await h.publish("price:python", *published[:10])
    delta = await h.subscribed(client, "price:python", delta=DeltaType.FOSSIL)
    await delta.events.until(lambda events: events.data)
    assert delta.events.data == [published[9]]
    await h.publish("price:python", *published[10:])
    await delta.events.until(lambda events: events.data[-1] == published[-1])
    assert delta.events.data == published[9:]
    slow = await h.subscribed(client, "price:python-rate", data={"rate": 1})
    assert h.decode(slow.events.subscribed[0].data) == {"rate": 1}
    await h.publish("price:python-rate", *range(50))
    await slow.events.until(lambda events: events.data and events.data[-1] == 49)
    assert len(slow.events.data) < 50
    changed = await client.rpc("sub.rate", h.encode({"channel": "price:python-rate", "rate": 5}))
    assert h.decode(changed.data) == {"rate": 4}


async def refused(call) -> int:
    """The code that a call is refused with."""
    try:
        result = await call
    except ReplyError as error:
        return error.code
    raise AssertionError(f"expected an error, got {result}")


def token(secret: bytes = SECRET, **claims) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    signed = f"{part(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def in_seconds(seconds: int) -> int:
    return int(time.time()) + seconds


async def main(name: str, form: str, servers: str) -> None:
    addresses = json.loads(servers)
    async with Harness(form, addresses["edge"], addresses["internal"]) as harness:
        await {"connect": connect, "ask": ask, "tokens": tokens, "recovery": recovery, "values": values}[name](harness)


asyncio.run(main(*sys.argv[1:]))
