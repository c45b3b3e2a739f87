"""The table that the benchmarks end with: what, rate, limit, ratio."""

from collections.abc import Callable
from typing import Any

import pytest

ROWS = pytest.StashKey[list[tuple[str, str, str, str]]]()


@pytest.fixture
def report(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., None]:
    """Add a line to the table, and the same figures to pytest-benchmark's JSON."""

    def add(what: str, rate: float, unit: str, limit: float, limit_is: str) -> None:
        """Report a rate beside its limit.

        Args:
            what: was done.
            rate: how many a second.
            unit: of what.
            limit: how many a second it could be, or what the rate is compared with.
            limit_is: what that is.
        """
        benchmark.extra_info |= {"what": what, "rate": rate, "unit": unit, "limit": limit, "ratio": rate / limit}
        row = (what, f"{rate:,.1f} {unit}/s", f"{limit:,.1f} ({limit_is})", f"{rate / limit:.2f}")
        request.config.stash.setdefault(ROWS, []).append(row)

    return add


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if rows:
        table = [("what", "rate", "limit", "ratio"), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        terminalreporter.section("rates")
        for row in table:
            terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
