"""What must hold for a real client. Each check is a function that raises `AssertionError` with a reason, or returns.

A subscribing client is any program that keeps this contract: called with URL and LAST, it opens a WebSocket to URL and prints
`open`; having received the text LAST it closes with 1000; once closed it prints one JSON object:
`messages`, each {"text": ...} or {"b64data": ...} in order of arrival; `code` and `clean`, how the close was seen;
`deflate`, whether permessage-deflate was agreed on. Printing comes last, so that a full pipe never makes it a slow reader.
"""

import base64
import json
import pathlib
import subprocess
from collections.abc import Callable
from contextlib import ExitStack

from processes import Fantail

CLIENT_SECONDS = 30
PUBLICATIONS = 1000
LAST = "last"


def publications() -> list[dict]:
    """What is published to each client: texts and bytes, small and large, most of them worth compressing.

    All together stay well below the default `outbox_bytes_max`: what is checked is order and loss, not conflation.
    """
    made = []
    for number in range(PUBLICATIONS - 1):
        if number % 10 == 9:
            made.append({"b64data": base64.b64encode(number.to_bytes(4, "big") * (number % 97)).decode()})
        elif number % 100 == 50:
            made.append({"data": {"n": number, "depth": [[price, price * 3] for price in range(1000)]}})
        elif number % 3 == 0:
            made.append({"data": number})
        else:
            made.append({"data": {"n": number, "text": "Grüße, 世界 🐦 " * (number % 20)}})
    made.append({"data": LAST})
    return made


def receives_all(client: list, server: Fantail, url: str, channel: str) -> None:
    """Every publication arrives, in order, as it was published; then both sides close with 1000."""
    published = publications()
    with subprocess.Popen([*client, url, json.dumps(LAST)], stdout=subprocess.PIPE, text=True) as process:
        try:
            opened = process.stdout.readline().strip()
            assert opened == "open", f"the client could not connect: {opened!r}"
            server.publish_all(channel, published)
            output, _ = process.communicate(timeout=CLIENT_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, f"the client ended with {process.returncode}"

    report = json.loads(output)
    expected = [as_received(publication) for publication in published]
    for number, (got, want) in enumerate(zip(report["messages"], expected)):
        assert got == want, f"message {number}: expected {str(want)[:80]}, got {str(got)[:80]}"
    assert len(report["messages"]) == len(expected), f"{len(report['messages'])} of {len(expected)} arrived"
    assert (report["code"], report["clean"]) == (1000, True), f"closed with {report['code']}, clean {report['clean']}"
    assert report["deflate"], "permessage-deflate was offered and not agreed on"


def as_received(publication: dict) -> dict:
    if "data" in publication:
        return {"text": json.dumps(publication["data"], ensure_ascii=False)}
    return publication


def demo_page(viewer: list, start: Callable[[str], Fantail], screenshot: pathlib.Path) -> None:
    """The page shows ten prices and a game world that move, through the SDK; a chosen rate takes effect at once; the page returns
    after its own disconnect, with what it missed, and after a restart of the server. `start` takes HOST:PORT.
    """
    with ExitStack() as started:
        server = started.enter_context(start("127.0.0.1:0"))
        process = started.enter_context(subprocess.Popen([*viewer, f"http://{server.edge}/", screenshot], stdout=subprocess.PIPE, text=True))
        started.callback(process.kill)
        line = process.stdout.readline()
        assert line, "the page could not be looked at"
        seen = json.loads(line)
        shows_the_feeds(seen)

        slowed, returned, hastened = seen["slowed"], seen["returned"], seen["hastened"]
        # Of twenty updates a second, at most four.
        assert slowed["granted"] and slowed["skipped"] > slowed["received"] > 0, f"at 4 a second: {slowed}"
        assert hastened["granted"] and hastened["received"] >= 400, f"at all updates: {hastened}"
        assert hastened["skipped"] == 0, f"a page that keeps up missed updates: {hastened}"
        assert all(returned[what] for what in ("left", "returned", "recovered", "goesOn")), f"its own disconnect: {returned}"
        assert returned["rate"] == 4, f"the rate chosen before it left: {returned}"

        edge = server.edge
        assert server.terminate() == 0, "the server did not end well"
        started.enter_context(start(edge))
        output, _ = process.communicate(timeout=CLIENT_SECONDS)
        restarted = json.loads(output)
        assert all(restarted[what] for what in ("dropped", "returned", "goesOn")), f"the server's restart: {restarted}"
        assert restarted["rate"] == 0 and "new server" in restarted["said"], f"the server's restart: {restarted}"


def shows_the_feeds(seen: dict) -> None:
    assert seen["live"], "the page did not become live"
    assert seen["visitors"] == "1", f"visitors: {seen['visitors']}"
    assert len(seen["prices"]) == 10 and all(float(price) > 0 for price in seen["prices"]), f"prices: {seen['prices']}"
    assert seen["pricesMoved"] >= 8, f"only {seen['pricesMoved']} of ten prices moved"
    assert seen["worldMoved"], "the game world stands still"
    received = seen["received"]
    assert received["ticker:demo"] >= 400 and received["game:world"] >= 40, f"received: {received}"


def plain(url: str, *options: str, status: int, fields: dict[str, str] | None = None, body: bytes | None = None) -> None:
    """curl gets this status, these fields (names in lower case), and this body if one is given."""
    command = ["curl", "--silent", "--show-error", "--include", "--http1.1", "--max-time", "10", *options, url]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    head, _, got_body = output.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    got_fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert status_line.split()[1] == str(status), f"expected {status}, got {status_line}"
    for name, value in (fields or {}).items():
        assert value.lower() in got_fields.get(name, "").lower(), f"{name}: expected {value}, got {got_fields.get(name)}"
    assert body is None or got_body == body, f"body: expected {body!r}, got {got_body[:80]!r}"


def kept_alive(url: str) -> None:
    """curl gets two answers over one connection."""
    command = ["curl", "--silent", "--show-error", "--http1.1", "--max-time", "10", "--write-out", "%{num_connects} "]
    command += ["--output", "/dev/null", "--output", "/dev/null", url, url]
    connects = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert connects == ["1", "0"], f"connections opened for two requests: {connects}"


def ends_cleanly(server: Fantail) -> None:
    """SIGTERM: the server exits with 0, and has not panicked on the way here."""
    code = server.terminate()
    assert code == 0, f"exit code {code}"
    assert "panicked" not in server.log_text(), server.log_text()
