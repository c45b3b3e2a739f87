"""Faults planted on purpose: with a setting taken out of its test's command lines, the test must fail.

    python tests/wiring/plant.py [PART OF A SETTING …]

says for each setting of ``conf/`` whether the test that names it would have missed a program that ignores it. A test
that looks at what ``conf/`` itself says, and changes nothing, can't be asked so, and is listed.
"""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import pytest  # noqa: E402
import wires  # noqa: E402


class Result:
    """Counts what pytest ran."""

    def __init__(self) -> None:
        self.failed = self.passed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed += report.failed
        self.passed += report.passed and report.when == "call"


def run(tests: list[str], setting: str) -> tuple[Result, bool]:
    """Run tests while a setting is ignored; also whether a command line had it."""
    result, wires.IGNORED, wires.left_out = Result(), setting, 0
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(StringIO()):  # noqa: PTH123
        pytest.main(["-q", "-x", *(f"{HERE}/{test}" for test in tests)], plugins=[result])
    return result, wires.left_out > 0


def main() -> int:
    """Ask every test; the status is 1 where one would have missed its setting."""
    parts = sys.argv[1:]  # a test of the command line changes them
    sound, _ = run(["."], "")
    if sound.failed or not sound.passed:
        print("The tests fail without a fault, too.")
        return 1
    asked = {setting: sorted(set(tests)) for setting, tests in wires.WIRED.items()}
    missed: list[str] = []
    own: list[str] = []
    for number, (setting, tests) in enumerate(sorted(asked.items()), start=1):
        if parts and not any(part in setting for part in parts):
            continue
        result, said = run(tests, setting)
        verdict = "conf/'s own value" if not said else "caught" if result.failed else "missed"
        missed += [setting] * (verdict == "missed")
        own += [setting] * (not said)
        print(f"{number}/{len(asked)} {setting}: {verdict} by {', '.join(tests)}", flush=True)
    print(f"{len(missed)} missed: {missed}\n{len(own)} of which no command line says anything: {own}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
