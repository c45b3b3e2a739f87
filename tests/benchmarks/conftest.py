"""What benchmarks share: a race against a limit, and one table of all: what, rate, limit, ratio, peak memory.

A benchmark asks for ``race``, which times the work and its limit in turns::

    def test_step(race):
        race("training step", step, products, count=64, unit="captions", against="its products alone", at_least=0.6)

or for ``report`` where it has measured by itself. Machines differ, so that what counts, and what ``--compare`` looks
at, is the ratio to the limit in the same run. More is better in every row.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from PIL import Image
from pytest_benchmark.utils import get_commit_info
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from captioning.core.memory import keep_memory

STORED = Path(".benchmarks")
SLOWER = 0.9  # of the ratio in the stored run; what differs less may be chance
ROWS = pytest.StashKey[list[dict[str, Any]]]()
PRODUCTS = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.mkldnn._linear_pointwise.default,
    torch.ops.aten.mkldnn_linear_backward_weights.default,
}
PRODUCT_NAMES = ("::mm", "::addmm", "::bmm", "_linear_pointwise", "mkldnn_linear_backward_weights", "convolution")
BETWEEN = 6  # operations besides the products that a profile names
HEAD = ("what", "rate", "limit", "ratio", "at least", "peak memory")


class Products(TorchDispatchMode):
    """Keeps the operands of every matrix product, so that the products can be run again, alone."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in PRODUCTS:
            operands = tree_map_only(torch.Tensor, torch.Tensor.detach, args)
            self.calls.append(partial(function, *operands, **(kwargs or {})))
        return function(*args, **(kwargs or {}))

    def __call__(self) -> None:
        with torch.inference_mode():
            for call in self.calls:
                call()


class Report(Protocol):
    """Adds a row to the table and to the JSON."""

    def __call__(
        self, what: str, rate: float, unit: str, limit: float, against: str, at_least: float | None = None
    ) -> None:
        """Report a rate beside its limit; memory is that of the test so far.

        Args:
            what: was done; the name by which a stored run is compared.
            rate: how many a second.
            unit: of what.
            limit: how many a second it could be, or what the rate is compared with.
            against: what the limit is.
            at_least: the ratio that is aimed at.
        """


class Race(Protocol):
    """Times some work and its limit in turns, so that what others do on the machine falls on both, and reports it."""

    def __call__(
        self,
        what: str,
        work: Callable[[], object],
        limit: Callable[[], object],
        *,
        count: float,
        unit: str,
        against: str,
        limit_count: float | None = None,
        at_least: float | None = None,
        rounds: int = 5,
    ) -> float:
        """Run both once to warm up, then in turns.

        Args:
            what: is done; the name by which a stored run is compared.
            work: what is measured.
            limit: what it is compared with, done once before each round of the work.
            count: how many units the work does.
            unit: of what.
            against: what the limit is.
            limit_count: how many the limit does, where not as many.
            at_least: the ratio that is aimed at.
            rounds: of each.

        Returns:
            The median over the rounds of the work's rate by its limit's.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("captioning benchmarks")
    group.addoption("--json", metavar="PATH", help=f"where to write the figures (default: a new file in {STORED})")
    group.addoption("--compare", metavar="PATH", help="a stored run: say what got slower since ('last': the newest)")
    group.addoption("--device", default="auto", help="cpu or cuda (default: the GPU where there is one)")
    group.addoption("--profile", action="store_true", help="say in which operations the time besides products goes")
    cores = len(os.sched_getaffinity(0))
    group.addoption("--threads", type=int, default=cores, help=f"of the CPU (default: all cores, {cores})")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes over half a minute on two cores (left out by -m 'not slow')")
    config.option.benchmark_quiet = True  # there is one table, and it is ours
    keep_memory()  # as `captioning train` and `evaluate` do
    os.environ["OMP_NUM_THREADS"] = str(config.getoption("--threads"))  # for commands that benchmarks start
    if path := config.getoption("--compare"):
        stored = max(STORED.glob("*.json"), default=STORED / "*.json") if path == "last" else Path(path)
        if not stored.is_file():
            raise pytest.UsageError(f"--compare {path}: there is no stored run {stored}")
        config.option.compare = str(stored)  # before this run writes its own
    config.option.json = config.getoption("--json") or str(STORED / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json")


def find_device(config: pytest.Config) -> torch.device:
    name: str = config.getoption("--device")
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))


def device_name(device: torch.device, threads: int) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    models = [line.partition(":")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{models[0].strip() if models else platform.machine()}, {threads} threads, {capability}"


@pytest.fixture(autouse=True)
def as_many_threads(pytestconfig: pytest.Config) -> Iterator[None]:
    """As many threads as are asked for, whatever a benchmark sets for itself; the other tests take one."""
    before = torch.get_num_threads()
    torch.set_num_threads(pytestconfig.getoption("--threads"))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    """Where to compute."""
    return find_device(pytestconfig)


class Peak:
    """The most memory that was taken since it was made: of the GPU where there is one, else of this process."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            Path("/proc/self/clear_refs").write_text("5")  # forget the highest resident memory (man 5 proc)

    def gigabytes(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e9
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM:"))


@pytest.fixture(scope="session")
def products_of() -> Callable[[Callable[[], object]], Products]:
    """Some work to what does its matrix products again, alone: the limit of that work."""

    def record(work: Callable[[], object]) -> Products:
        with Products() as products:
            work()
        assert products.calls
        return products

    return record


def between(work: Callable[[], object], calls: int = 3) -> str:
    """Where the time of some work goes on the CPU, by torch's profiler: products, then the largest of the rest."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(calls):
            work()
    times = {each.key: each.self_cpu_time_total for each in found.key_averages()}
    whole = sum(times.values()) or 1.0
    products = sum(time for name, time in times.items() if name.endswith(PRODUCT_NAMES))
    rest = sorted(((time, name) for name, time in times.items() if not name.endswith(PRODUCT_NAMES)), reverse=True)
    shares = [f"{name.removeprefix('aten::')} {time / whole:.1%}" for time, name in rest[:BETWEEN]]
    return ", ".join([f"products {products / whole:.0%}", *shares])


@pytest.fixture(scope="session")
def draw() -> Callable[[Path, tuple[int, int], int], list[Path]]:
    """A function that draws so many JPEGs of a size into a folder, about as hard to decode as photographs."""

    def drawn(folder: Path, size: tuple[int, int], photographs: int) -> list[Path]:
        """Smooth fields with some noise."""
        random = np.random.default_rng(0)
        width, height = size
        for number in range(photographs):
            coarse = Image.fromarray(random.integers(0, 256, (height // 32, width // 32, 3), dtype=np.uint8))
            pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
            noisy = pixels + random.integers(-12, 13, (height, width, 1))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:04}.jpg", quality=90)
        return sorted(folder.glob("*.jpg"))

    return drawn


@pytest.fixture
def report(request: pytest.FixtureRequest, device: torch.device) -> Report:
    """See ``Report``."""
    peak = Peak(device)

    def add(what: str, rate: float, unit: str, limit: float, against: str, at_least: float | None = None) -> None:
        row = {"what": what, "rate": rate, "unit": unit, "limit": limit, "against": against, "ratio": rate / limit}
        known = request.config.stash.setdefault(ROWS, [])
        assert what not in {other["what"] for other in known}, f"two rows are called {what}"
        row |= {"at_least": at_least, "peak_gb": peak.gigabytes(), "device": device.type}
        known.append(row)

    return add


@pytest.fixture
def race(benchmark: Any, report: Report, device: torch.device, pytestconfig: pytest.Config) -> Race:
    """See ``Race``; once per test, as pytest-benchmark has it."""

    def seconds(function: Callable[[], object]) -> float:
        begin = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    def run(
        what: str,
        work: Callable[[], object],
        limit: Callable[[], object],
        *,
        count: float,
        unit: str,
        against: str,
        limit_count: float | None = None,
        at_least: float | None = None,
        rounds: int = 5,
    ) -> float:
        works: list[float] = []
        limits: list[float] = []
        benchmark.pedantic(
            lambda: works.append(seconds(work)),
            setup=lambda: limits.append(seconds(limit)),
            rounds=rounds,
            warmup_rounds=1,
        )
        pairs = list(zip(works, limits, strict=False))[1 : rounds + 1]
        limit_rate = (limit_count or count) / median(of_limit for _, of_limit in pairs)
        ratio = median(of_limit / of_work for of_work, of_limit in pairs) * count / (limit_count or count)
        report(what, ratio * limit_rate, unit, limit_rate, against, at_least)
        if pytestconfig.getoption("--profile") and device.type == "cpu":
            pytestconfig.stash[ROWS][-1]["between"] = between(work)
        return ratio

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    write = terminalreporter.write_line
    terminalreporter.section("rates")
    run = {
        "device": device_name(find_device(config), config.getoption("--threads")),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }
    write("{device}, torch {torch}, load {load:.1f}".format(**run))
    for line in aligned([HEAD, *map(cells, rows)]):
        write(line)
    if config.option.profile:
        terminalreporter.section("between the products")
        for row in rows:
            if "between" in row:
                write(f"{row['what']}: {row['between']}")
    path = Path(config.option.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run | {"commit": get_commit_info(), "rows": rows}, indent=1) + "\n")
    write(f"wrote {path}")
    if stored := config.option.compare:
        terminalreporter.section(f"against {stored}")
        for line in compare(json.loads(Path(stored).read_text())["rows"], rows):
            write(line)


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    aim = "" if row["at_least"] is None else f"{row['at_least']:.2f}{' missed' * (row['ratio'] < row['at_least'])}"
    rate, limit = f"{row['rate']:,.1f} {row['unit']}/s", f"{row['limit']:,.1f} ({row['against']})"
    return row["what"], rate, limit, f"{row['ratio']:.2f}", aim, f"{row['peak_gb']:.2f} GB"


def compare(stored: list[dict[str, Any]], rows: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each row that the stored run has too, the slower ones named again at the end."""
    before = {row["what"]: row for row in stored}
    both = [(row, before[row["what"]]) for row in rows if row["what"] in before]
    change = {row["what"]: row["ratio"] / old["ratio"] for row, old in both}
    yield from aligned(
        [
            ("what", "ratio then", "now", "change", "peak memory then", "now"),
            *(
                (
                    row["what"],
                    f"{old['ratio']:.2f}",
                    f"{row['ratio']:.2f}",
                    f"{change[row['what']] - 1:+.0%}",
                    f"{old['peak_gb']:.2f} GB",
                    f"{row['peak_gb']:.2f} GB",
                )
                for row, old in both
            ),
        ]
    )
    slower = [what for what, factor in change.items() if factor < SLOWER]
    yield f"slower: {'; '.join(slower) or 'nothing'}"


def aligned(table: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
