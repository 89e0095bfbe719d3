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


def demo_page(viewer: list, url: str, screenshot: pathlib.Path) -> None:
    """The page is live, shows ten prices, and they and the game world move at their rates."""
    output = subprocess.run([*viewer, url, screenshot], stdout=subprocess.PIPE, text=True, check=True, timeout=CLIENT_SECONDS).stdout
    seen = json.loads(output)
    assert seen["live"], "the page did not become live"
    assert len(seen["prices"]) == 10 and all(float(price) > 0 for price in seen["prices"]), f"prices: {seen['prices']}"
    assert seen["pricesMoved"] >= 8, f"only {seen['pricesMoved']} of ten prices moved"
    assert seen["worldMoved"], "the game world stands still"
    received = seen["received"]
    assert sum(channel.startswith("ticker:") for channel in received) == 10, f"channels: {sorted(received)}"
    assert "game:world" in received, f"channels: {sorted(received)}"
    still = [channel for channel, count in received.items() if count < 40]
    assert not still, f"fewer than 40 messages: {still}"


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
