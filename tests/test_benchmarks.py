"""The tool behind ``make bench``: its table, what it writes, and what it says of a stored run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

BENCHMARK = """
import time
import torch

def test_naps(race):
    ratio = race("napping", lambda: time.sleep(0.04), lambda: time.sleep(0.01), count=8, unit="naps", limit_count=1,
                 against="one nap", at_least=3, rounds=2)
    assert 1.4 < ratio < 2.6

def test_products(race):
    x = torch.ones(400, 400)
    race("multiplying", lambda: (x @ x).exp(), lambda: x @ x, count=1, unit="products", against="the product", rounds=1)

def test_memory(report):
    report("idling", 1, "jobs", 2, "nothing")
    held = bytearray(1 << 30)
    report("holding a gigabyte", 3, "jobs", 2, "nothing", at_least=0.5)
"""


def test_table_json_and_comparison(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "benchmarks" / "conftest.py", tmp_path)
    (tmp_path / "test_naps.py").write_text(BENCHMARK)
    rows = [{"what": "napping", "ratio": 4.0, "peak_gb": 1.0}, {"what": "idling", "ratio": 0.5, "peak_gb": 1.0}]
    (tmp_path / "then.json").write_text(json.dumps({"rows": rows}))
    command = [
        sys.executable,
        "-m",
        "pytest",
        ".",
        "-q",
        "-p",
        "no:cacheprovider",
        "--compare",
        "then.json",
        "--profile",
    ]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    command += ["--json", "new/now.json"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=alone
    )  # beside others it times nothing
    assert done.returncode == 0, done.stdout + done.stderr

    lines = {line.split("  ")[0]: line for line in done.stdout.partition(" rates ")[2].splitlines()}
    assert "3.00 missed" in done.stdout
    assert "slower: napping" in lines  # and nothing else
    (between,) = (row for row in lines if row.startswith("multiplying: products "))
    assert "%, exp " in between and "mm" not in between
    found = json.loads((tmp_path / "new" / "now.json").read_text())
    assert found["device"] in done.stdout
    measured = {row["what"]: row for row in found["rows"]}
    assert 1.4 < measured["napping"]["ratio"] < 2.6
    assert measured["napping"]["rate"] == measured["napping"]["ratio"] * measured["napping"]["limit"]
    assert measured["holding a gigabyte"]["peak_gb"] > measured["idling"]["peak_gb"] + 1
