"""A sweep whose jobs run in processes of their own, as on a cluster: with submitit's local executor."""

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from captioning.jobs.config import conf_dir

pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
Overrides = Callable[..., list[str]]


def test_jobs_in_other_processes_have_one_table(
    tiny: Overrides, tmp_path: Path, in_child: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    targets = "decoder._target_=captioning.decoders.NeuralTalk,no_such.Thing"
    fast = tiny("trainer.max_epochs=1", "encoder.last_stage=layer1", "test=false", "sweep=far", "patience=choice(9)")
    done = in_child(["train", "-m", "hydra/launcher=submitit_local", *fast, targets], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    folder = tmp_path / "runs" / "far"
    with (folder / "table.csv").open(newline="") as file:
        finished, failed = csv.DictReader(file)
    assert (finished["status"], failed["status"]) == ("finished", "failed")
    assert float(finished["val/CIDEr"]) >= 0
    # named in their processes as planned in this one, although a key that is swept is among hydra's exclude_keys
    assert f"best job by val/CIDEr: {folder / finished['job']}" in done.stdout
    assert (folder / finished["job"] / "checkpoints" / "best.ckpt").exists()
    assert "no_such.Thing can't be imported" in (folder / failed["job"] / "failed.txt").read_text()
    assert f"1 failed, see failed.txt in their folders: {failed['job']}" in done.stderr
    assert len(list(folder.glob(".submitit/*/*_result.pkl"))) == 2  # both came back from processes of their own


def test_the_cluster_s_configuration() -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", ["hydra/launcher=cluster", "hydra.launcher.partition=gpu"], return_hydra_config=True)
    launcher = config.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.partition, launcher.gpus_per_node, launcher.name) == ("gpu", 1, "captioning")
    assert launcher.max_num_timeout > 0  # runs resume
