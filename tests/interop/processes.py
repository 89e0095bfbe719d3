"""The servers under test and in front of it: started, waited for, and ended by their own handle.

Owns processes, ports and temporary folders; knows nothing of what is checked. Each class is a context manager.
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


class _Announced(contextlib.AbstractContextManager):
    """A server on a free port, ready with the line that tells where it listens. `edge` is HOST:PORT."""

    ANNOUNCEMENT = r"listening edge=(?P<edge>\S+)$"

    def __init__(self, command: list, log: pathlib.Path):
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            line = self._first_line()
            found = re.match(self.ANNOUNCEMENT, line)
            if not found:
                raise RuntimeError(f"{command} did not say that it listens: {line!r}, {self.log_text()}")
            self.said = found.groupdict()
            self.edge = self.said["edge"]
        except BaseException:
            self.__exit__()
            raise

    def _first_line(self) -> str:
        readable, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        return self.process.stdout.readline() if readable else ""

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def __exit__(self, *_exception) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Peer(_Announced):
    """Somebody else's server, that `fantail-load` measures."""


class Fantail(_Announced):
    """`fantail serve` or `fantail demo`, on any free port or on `listen`. `internal` is HOST:PORT, as `listen` is."""

    ANNOUNCEMENT = r"listening edge=(?P<edge>\S+) internal=(?P<internal>\S+) driver=\w+ workers=\d+$"

    def __init__(self, binary: pathlib.Path, command: str, log: pathlib.Path, *options, listen: str = "127.0.0.1:0"):
        self.command = command
        super().__init__([binary, command, "--listen", listen, "--internal", "127.0.0.1:0", *options], log)
        self.internal = self.said["internal"]

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


class Certificates(contextlib.AbstractContextManager):
    """An authority nobody knows, and a server's certificate from it for 127.0.0.1: PEM files in a temporary folder."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="fantail-interop-")
        folder = pathlib.Path(self._folder.name)
        self.authority, self.certificate, self.key = (folder / name for name in ("ca.pem", "server.pem", "server.key"))
        authority_key = folder / "ca.key"
        config = folder / "openssl.cnf"
        # Without the system's own, which would add that every certificate is an authority's.
        config.write_text("[req]\ndistinguished_name = name\n[name]\n")
        new = ["openssl", "req", "-config", config, "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        own = ["-keyout", authority_key, "-out", self.authority, "-subj", "/CN=interop authority"]
        theirs = ["-keyout", self.key, "-out", self.certificate, "-subj", "/CN=interop server"]
        signed = ["-CA", self.authority, "-CAkey", authority_key, "-addext", "subjectAltName=IP:127.0.0.1"]
        for arguments in (
            [*own, "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"],
            [*theirs, *signed, "-addext", "basicConstraints=critical,CA:FALSE"],
        ):
            subprocess.run([*new, *arguments], check=True, capture_output=True)

    def __exit__(self, *_exception) -> None:
        self._folder.cleanup()


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
