"""Real clients, a real browser and real proxies against a real `fantail`, and a real `fantail-load` against real servers.

Usage: run.py BINARIES FOLDER. BINARIES is where cargo puts what it builds. Starts the servers, runs every check, and prints one line
for each. Logs and the demo page's screenshot are left in FOLDER.
"""

import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import checks
import load_checks
import sdk_checks
from processes import Certificates, Fantail, Haproxy, Nginx, Peer

CLIENTS = pathlib.Path(__file__).parent / "clients"
SERVERS = pathlib.Path(__file__).parent / "servers"
WS = ["node", CLIENTS / "ws_client.mjs"]
WEBSOCKETS = [sys.executable, CLIENTS / "websockets_client.py"]
AIOHTTP = [sys.executable, CLIENTS / "aiohttp_client.py"]
CHROMIUM = ["node", CLIENTS / "chromium_client.mjs"]
CENTRIFUGE_JS = ["node", CLIENTS / "centrifuge" / "main.mjs"]
CENTRIFUGE_PYTHON = [sys.executable, CLIENTS / "centrifuge_client.py"]
DEMO_PAGE = ["node", CLIENTS / "demo_page.mjs"]
SDK = pathlib.Path(__file__).parent / "node_modules" / "centrifuge" / "dist" / "centrifuge.js"
WS_SERVER = ["node", SERVERS / "ws_server.mjs"]
WEBSOCKETS_SERVER = [sys.executable, SERVERS / "websockets_server.py"]

JS_SCENARIOS = "connect subscribe history presence tokens size codes server_subscriptions recovery restart delta last_value rates silence"
PYTHON_SCENARIOS = "connect ask tokens recovery values"

Check = tuple[str, Callable[[], None]]


def main() -> int:
    binaries, folder = map(pathlib.Path, sys.argv[1:])
    binary = binaries / "fantail"
    load = binaries / "fantail-load"
    tungstenite_server = [binaries / "examples" / "tokio_tungstenite"]
    with ExitStack() as processes:
        demo = processes.enter_context(Fantail(binary, "demo", folder / "demo.log"))
        serve = processes.enter_context(Fantail(binary, "serve", folder / "serve.log"))
        nginx = processes.enter_context(Nginx("nginx.conf", serve.edge))
        haproxy = processes.enter_context(Haproxy("haproxy.cfg", serve.edge))

        ws = processes.enter_context(Peer(WS_SERVER, folder / "ws.log"))
        websockets = processes.enter_context(Peer(WEBSOCKETS_SERVER, folder / "websockets.log"))
        tungstenite = processes.enter_context(Peer(tungstenite_server, folder / "tokio-tungstenite.log"))
        certificates = processes.enter_context(Certificates())
        websockets_tls = [*WEBSOCKETS_SERVER, certificates.certificate, certificates.key]
        secure = processes.enter_context(Peer(websockets_tls, folder / "websockets-tls.log"))

        results = [
            run(name, check)
            for suite in (
                plain_answers(demo.edge),
                demo_page(lambda listen: Fantail(binary, "demo", folder / "demo-page.log", listen=listen), folder / "demo.png"),
                [subscriber("chromium", CHROMIUM, "direct", demo, demo.edge)],
                subscribers("direct", serve, serve.edge),
                subscribers("nginx", serve, nginx.address),
                subscribers("haproxy", serve, haproxy.address),
                plain_through("nginx", nginx.address),
                plain_through("haproxy", haproxy.address),
                sdk_checks.all_of("centrifuge-js", CENTRIFUGE_JS, JS_SCENARIOS.split(), binary, folder),
                sdk_checks.all_of("centrifuge-python", CENTRIFUGE_PYTHON, PYTHON_SCENARIOS.split(), binary, folder),
                load_on("ws", load, ws.edge, deflate=True),
                load_on("websockets", load, websockets.edge, deflate=True),
                load_on("tokio-tungstenite", load, tungstenite.edge, deflate=False),
                load_over_tls("websockets", load, secure.edge, certificates),
                shutdown(demo, serve),
            )
            for name, check in suite
        ]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


def plain_answers(edge: str) -> Iterator[Check]:
    page = f"http://{edge}/"
    upgrade = {"upgrade": "websocket", "connection": "upgrade"}
    yield "curl: the page", partial(checks.plain, page, status=200, fields={"content-type": "text/html"})
    yield "curl: HEAD", partial(checks.plain, page, "--head", status=200, fields={"content-type": "text/html"}, body=b"")
    javascript = {"content-type": "text/javascript"}
    yield "curl: the SDK, as npm has it", partial(checks.plain, f"{page}centrifuge.js", status=200, fields=javascript, body=SDK.read_bytes())
    yield "curl: POST to the page", partial(checks.plain, page, "--data", "x=1", status=405, fields={"allow": "GET"})
    yield "curl: unknown path", partial(checks.plain, f"{page}nothing", status=404)
    yield "curl: /echo without an upgrade", partial(checks.plain, f"{page}echo", status=426, fields=upgrade)
    yield "curl: /raw without an upgrade", partial(checks.plain, f"{page}raw/channel", status=426, fields=upgrade)
    yield "curl: two requests, one connection", partial(checks.kept_alive, page)


def demo_page(start: Callable[[str], Fantail], screenshot: pathlib.Path) -> Iterator[Check]:
    yield "chromium: the demo page", partial(checks.demo_page, DEMO_PAGE, start, screenshot)


def subscribers(way: str, server: Fantail, address: str) -> Iterator[Check]:
    yield subscriber("ws", WS, way, server, address)
    yield subscriber("websockets", WEBSOCKETS, way, server, address)
    yield subscriber("aiohttp", AIOHTTP, way, server, address)


def subscriber(name: str, client: list, way: str, server: Fantail, address: str) -> Check:
    channel = f"interop-{name}-{way}"
    url = f"ws://{address}/raw/{channel}"
    return f"{name}, {way}: {checks.PUBLICATIONS} publications", partial(checks.receives_all, client, server, url, channel)


def plain_through(way: str, address: str) -> Iterator[Check]:
    yield f"curl, {way}: unknown path", partial(checks.plain, f"http://{address}/nothing", status=404)
    yield f"curl, {way}: /echo without an upgrade", partial(checks.plain, f"http://{address}/echo", status=426)


def load_on(name: str, load: pathlib.Path, address: str, *, deflate: bool) -> Iterator[Check]:
    echo = f"ws://{address}/echo"
    yield f"fantail-load on {name}: echo", partial(load_checks.echoes, load, echo)
    yield f"fantail-load on {name}: --deflate", partial(load_checks.compresses, load, echo, deflate)
    yield f"fantail-load on {name}: fanout", partial(load_checks.fans_out, load, f"ws://{address}/raw/load")
    yield f"fantail-load on {name}: connect", partial(load_checks.connects, load, echo)
    yield f"fantail-load on {name}: idle", partial(load_checks.holds, load, echo)
    yield f"fantail-load on {name}: thresholds", partial(load_checks.judges, load, echo)


def load_over_tls(name: str, load: pathlib.Path, address: str, certificates: Certificates) -> Iterator[Check]:
    yield f"fantail-load on {name}: wss", partial(load_checks.over_tls, load, f"wss://{address}/echo", certificates.authority)


def shutdown(*servers: Fantail) -> Iterator[Check]:
    for server in servers:
        yield f"SIGTERM: fantail {server.command}", partial(checks.ends_cleanly, server)


def run(name: str, check: Callable[[], None]) -> bool:
    started = time.monotonic()
    reason = None
    try:
        check()
    except (AssertionError, RuntimeError, OSError, LookupError, ValueError, subprocess.SubprocessError) as error:
        reason = error
    seconds = time.monotonic() - started
    print(f"{'ok' if reason is None else 'FAILED'}  {name} ({seconds:.1f} s){'' if reason is None else f': {reason}'}", flush=True)
    return reason is None


if __name__ == "__main__":
    sys.exit(main())
