"""Compares a report of Autobahn|Testsuite with the committed results, and exits 1 on any difference.

Usage: compare.py SPEC EXPECTED [--write]

SPEC is the specification the suite ran with: it names the report's folder and the cases. EXPECTED maps a case to
"behavior/behaviorClose". With --write the report's cases are written into EXPECTED, if none of them failed.
"""

import fnmatch
import json
import pathlib
import sys

# What the suite calls a pass; NON-STRICT is none for us: it means an answer that came later than it should have.
BEHAVIORS = {"OK", "INFORMATIONAL"}
# Fail-fast UTF-8: the suite would take an answer at the message's end too.
FAIL_FAST = "6.4."


def main() -> int:
    spec = json.loads(pathlib.Path(sys.argv[1]).read_text())
    expected_file = pathlib.Path(sys.argv[2])
    actual = read_report(pathlib.Path(spec["outdir"]) / "index.json")

    wrong = [f"{case}: {result}" for case, result in actual.items() if not passes(case, result)]
    committed = json.loads(expected_file.read_text())
    if "--write" in sys.argv[3:] and not wrong:
        committed |= actual
        write_expected(expected_file, committed)
    expected = {
        case: result
        for case, result in committed.items()
        if any(fnmatch.fnmatchcase(case, pattern) for pattern in spec["cases"])
    }
    for case in sorted(expected.keys() | actual.keys(), key=case_order):
        if expected.get(case) != actual.get(case):
            wrong.append(f"{case}: expected {expected.get(case, 'no such case')}, got {actual.get(case, 'no result')}")

    for line in wrong:
        print(line)
    failed = len({line.partition(":")[0] for line in wrong})
    print(f"{len(actual.keys() | expected.keys()) - failed} passed, {failed} failed")
    return 1 if failed or not actual else 0


def read_report(index: pathlib.Path) -> dict[str, str]:
    (cases,) = json.loads(index.read_text()).values()
    return {case: f"{result['behavior']}/{result['behaviorClose']}" for case, result in cases.items()}


def passes(case: str, result: str) -> bool:
    behavior, _, close = result.partition("/")
    if case.startswith(FAIL_FAST):
        return behavior == "OK" and close in BEHAVIORS
    return behavior in BEHAVIORS and close in BEHAVIORS


def write_expected(file: pathlib.Path, results: dict[str, str]) -> None:
    lines = (f'  "{case}": "{results[case]}"' for case in sorted(results, key=case_order))
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def case_order(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]


if __name__ == "__main__":
    sys.exit(main())
