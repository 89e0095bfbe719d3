"""What must hold for an SDK of the client protocol. Each check raises `AssertionError` with a reason, or returns.

A scenario is a part of a program that keeps this contract: called with SCENARIO, FORMAT (json or protobuf) and SERVERS, one JSON object,
it plays the scenario on servers that nobody used before, and ends with 0, or with another code and the reason on stderr. SERVERS has the
`edge` and `internal` addresses of a server, its `pid`, for it may be ended, and in `other` the same of another.
"""

import json
import pathlib
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from processes import Fantail

CONFIG = pathlib.Path(__file__).parent / "sdk.toml"
SCENARIO_SECONDS = 60
# Most of them wait most of the time.
AT_ONCE = 6
FORMATS = ("json", "protobuf")


def all_of(sdk: str, client: list, scenarios: list[str], binary: pathlib.Path, folder: pathlib.Path) -> Iterator[tuple]:
    """Checks of every scenario in every format, several of which run at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {}
        for scenario in scenarios:
            for form in FORMATS:
                log = folder / f"{sdk}-{scenario}-{form}"
                runs[f"{sdk}, {form}: {scenario}"] = pool.submit(plays, client, scenario, form, binary, log)
        for name, run in runs.items():
            yield name, run.result


def plays(client: list, scenario: str, form: str, binary: pathlib.Path, log: pathlib.Path) -> None:
    """The scenario goes as it should, and the servers have not panicked."""
    with ExitStack() as processes:
        logs = [log.with_name(f"{log.name}-{name}.log") for name in ("one", "other")]
        one, other = [processes.enter_context(Fantail(binary, "serve", log, "--config", CONFIG)) for log in logs]
        servers = {**addresses(one), "other": addresses(other)}
        command = [*client, scenario, form, json.dumps(servers)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SCENARIO_SECONDS)
    assert ended.returncode == 0, f"ended with {ended.returncode}: {ended.stdout[-500:]}{ended.stderr[-1500:]}"
    for server in (one, other):
        assert "panicked" not in server.log_text(), server.log_text()


def addresses(server: Fantail) -> dict:
    return {"edge": server.edge, "internal": server.internal, "pid": server.process.pid}
