"""The servers under test and in front of it: started, waited for, and ended by their own handle.

Owns processes, ports and temporary folders; knows nothing of what is checked. Each of the three classes is a context manager.
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import string
import subprocess
import tempfile
import time

START_SECONDS = 30
STOP_SECONDS = 20
HERE = pathlib.Path(__file__).parent


class Fantail(contextlib.AbstractContextManager):
    """`fantail serve` or `fantail demo` on free ports. `edge` and `internal` are HOST:PORT."""

    def __init__(self, binary: pathlib.Path, command: str, log: pathlib.Path):
        self.command = command
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [binary, command, "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0"],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        try:
            line = self._first_line()
            found = re.match(r"listening edge=(\S+) internal=(\S+) driver=\w+ workers=\d+$", line)
            if not found:
                raise RuntimeError(f"fantail {command} did not say that it listens: {line!r}, {self.log_text()}")
            self.edge, self.internal = found.groups()
        except BaseException:
            self.__exit__()
            raise

    def _first_line(self) -> str:
        readable, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        return self.process.stdout.readline() if readable else ""

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def publish_all(self, channel: str, publications: list[dict]) -> None:
        """Publishes one after another on one connection. A publication is {"data": ...} or {"b64data": ...}."""
        connection = http.client.HTTPConnection(self.internal, timeout=10)
        with contextlib.closing(connection):
            for offset, publication in enumerate(publications, start=1):
                body = json.dumps({"channel": channel, **publication}, ensure_ascii=False)
                connection.request("POST", "/api/publish", body.encode(), {"Content-Type": "application/json"})
                answer = json.loads(connection.getresponse().read())
                if answer.get("result", {}).get("offset") != offset:
                    raise RuntimeError(f"publication {offset} of {channel} was answered {answer}")

    def terminate(self) -> int:
        """Asks the server to end, and gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def __exit__(self, *_exception) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class _Proxy(contextlib.AbstractContextManager):
    """A reverse proxy in the foreground, its files in a temporary folder. `address` is HOST:PORT."""

    def __init__(self, config: str, edge: str):
        self._folder = tempfile.TemporaryDirectory(prefix="fantail-interop-")
        folder = pathlib.Path(self._folder.name)
        self.address = f"127.0.0.1:{_free_port()}"
        template = string.Template((HERE / config).read_text())
        # `safe`: what looks like a variable of ours but is the proxy's own stays as it is.
        (folder / config).write_text(template.safe_substitute(listen=self.address, edge=edge))
        self._process = subprocess.Popen(self.command(folder, folder / config))
        try:
            self._wait_until_it_accepts()
        except BaseException:
            self.__exit__()
            raise

    @staticmethod
    def command(folder: pathlib.Path, config: pathlib.Path) -> list:
        """The command line that runs the proxy in the foreground."""
        raise NotImplementedError

    def _wait_until_it_accepts(self) -> None:
        host, port = self.address.split(":")
        end = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
                return
            time.sleep(0.01)
        raise RuntimeError(f"{type(self).__name__} does not accept connections on {self.address}")

    def __exit__(self, *_exception) -> None:
        self._process.terminate()
        self._process.wait(STOP_SECONDS)
        self._folder.cleanup()


class Nginx(_Proxy):
    @staticmethod
    def command(folder: pathlib.Path, config: pathlib.Path) -> list:
        # One process: its workers would run as a user who may not enter the temporary folder.
        foreground = "daemon off; master_process off;"
        return [_program("nginx"), "-p", folder, "-c", config, "-e", "stderr", "-g", foreground]


class Haproxy(_Proxy):
    @staticmethod
    def command(folder: pathlib.Path, config: pathlib.Path) -> list:
        return [_program("haproxy"), "-db", "-f", config]


def _program(name: str) -> str:
    """Debian keeps servers in /usr/sbin, which is not on every user's PATH."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        raise RuntimeError(f"{name} is not installed: scripts/install-interop")
    return path


def _free_port() -> int:
    """The proxies cannot tell which port they took, so one that is free right now is chosen for them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
