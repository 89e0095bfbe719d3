"""What must hold for `fantail-load` with a real server. Each check raises `AssertionError` with a reason, or returns.

A server is any program that keeps this contract: it prints `listening edge=HOST:PORT`; on /echo it sends every message back; on
/raw/CHANNEL it sends every message to all who connected there, its sender too.
"""

import json
import pathlib
import subprocess

RUN_SECONDS = 60
SUBSCRIBERS = 20
PUBLICATIONS = 200
# What a run may find about the machine it is on, and about its own share of it: no fault of the server.
EXCUSED_FINDINGS = {"cpu-steal", "throttled", "shared-cpu", "generator-saturated"}


def echoes(load: pathlib.Path, url: str) -> None:
    """Closed and open loop: all that is sent comes back."""
    for arguments in (["-d", "1s"], ["-R", "500", "-n", "500"]):
        run = _judged(0, load, "echo", url, "-c", "10", "--warmup", "200ms", *arguments)
        assert _count(run, "received") >= 500, f"{_count(run, 'received')} answers"
        assert _count(run, "failed") == 0, f"{_count(run, 'failed')} connections failed"


def compresses(load: pathlib.Path, url: str, agreed: bool) -> None:
    """With --deflate the answers are what was sent, and a server that does not compress is told of."""
    run = _judged(0, load, "echo", url, "-c", "2", "-n", "500", "-s", "4KiB", "--warmup", "0s", "--deflate")
    assert _count(run, "received") == 500, f"{_count(run, 'received')} of 500 answers"
    kinds = _kinds(run)
    assert ("deflate-mismatch" in kinds) != agreed, f"findings: {kinds}"


def fans_out(load: pathlib.Path, url: str) -> None:
    """Every publication reaches every subscriber once."""
    arguments = ["-c", str(SUBSCRIBERS), "--publishers", "1", "-R", "200", "-n", str(PUBLICATIONS), "--warmup", "0s"]
    run = _judged(0, load, "fanout", url, *arguments)
    received = _count(run, "received")
    assert received == SUBSCRIBERS * PUBLICATIONS, f"{received} of {SUBSCRIBERS * PUBLICATIONS} deliveries"


def connects(load: pathlib.Path, url: str) -> None:
    """Connections are opened and kept, and opened and closed."""
    for arguments in (["-c", "200"], ["-c", "20", "--close", "-n", "200", "--warmup", "0s"]):
        run = _judged(0, load, "connect", url, "--connect-rate", "500", *arguments)
        assert (_count(run, "connected"), _count(run, "failed")) == (200, 0), f"metrics: {run['metrics']}"


def holds(load: pathlib.Path, url: str) -> None:
    """Idle connections are held, and what they cost is within reason: nothing, where a server has room left from others before them."""
    run = _judged(0, load, "idle", url, "-c", "500", "--steps", "5", "--settle", "200ms")
    assert _count(run, "connected") == 500, f"{_count(run, 'connected')} of 500 connected"
    each = run["metrics"]["server.rss_per_conn"]["bytes"]
    assert abs(each) < 256 * 1024, f"{each} bytes a connection"


def judges(load: pathlib.Path, url: str) -> None:
    """Thresholds decide over the exit code: 0, 99, and 3 for what too few samples cannot tell."""
    for code, count, threshold in ((0, "500", "response.p90<30s"), (99, "500", "response.p50<1ns"), (3, "50", "response.p99<30s")):
        _judged(code, load, "echo", url, "-c", "2", "-R", "500", "-n", count, "--warmup", "0s", "--threshold", threshold)


def over_tls(load: pathlib.Path, url: str, authority: pathlib.Path) -> None:
    """A server whose authority is known, or that need not be verified, is measured; another is not."""
    for trust in (["--ca", str(authority)], ["-k"]):
        run = _judged(0, load, "echo", url, "-c", "4", "-n", "200", "--warmup", "0s", *trust)
        tls = run["metrics"]["connect.tls"]
        assert _count(run, "received") == 200 and tls["count"] == 4, f"metrics: {run['metrics']}"
    ended = _run(load, "echo", url, "-c", "4", "-n", "200")
    assert ended.returncode == 1, f"expected 1, got {ended.returncode}: {ended.stderr}"
    assert "certificate" in ended.stderr and len(ended.stderr.splitlines()) == 1, f"stderr: {ended.stderr}"


def _run(load: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([load, *arguments], capture_output=True, text=True, timeout=RUN_SECONDS)


def _judged(code: int, load: pathlib.Path, *arguments: str) -> dict:
    """What the run measured. It must end with this code, or with 3 for no other reason than those that are excused."""
    ended = _run(load, *arguments, "--json", "-")
    said = f"{' '.join(arguments)}: expected {code}, got {ended.returncode}: {ended.stderr[-500:]}"
    assert ended.returncode in (code, 3), said
    run = json.loads(ended.stdout)["runs"][0]
    excused = _kinds(run, "invalid") and _kinds(run, "invalid") <= EXCUSED_FINDINGS
    assert ended.returncode == code or excused, f"{said}: {run['findings']}"
    return run


def _count(run: dict, name: str) -> int:
    return run["metrics"][name]["count"]


def _kinds(run: dict, severity: str | None = None) -> set[str]:
    return {finding["kind"] for finding in run["findings"] if severity in (None, finding["severity"])}
