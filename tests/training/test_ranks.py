"""Two processes train, and score a split, as one does with the same global batch; also on two machines."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only

import captioning.__main__
from captioning.core.errors import CaptioningError
from captioning.data.module import PhotoData
from captioning.data.photos import CaptionedPhotos, Photo
from captioning.jobs.config import compose
from captioning.jobs.evaluate import evaluate
from captioning.jobs.train import train as train_here
from captioning.runs.metrics_file import read_metrics

Done = subprocess.CompletedProcess[str]
Ranks = Callable[..., Callable[[], int]]
ONE = ("data.batch_size=4", "trainer.devices=1")
TWO = ("data.batch_size=2", "trainer.devices=2", "trainer.strategy=ddp")
# captions are drawn (one of two), the last batch of an epoch is smaller, and no two ranks drop out the same
SETTINGS = ("data.captions_per_photo=1", "decoder.output_dropout=0", "trainer.max_epochs=3", "monitor=ROUGE-L")


def same(ours: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    """The rows are equal: Adam divides gradients by their size, so that a rounding is as large as what it rounds."""
    assert [row.keys() for row in ours] == [row.keys() for row in expected]
    for row, other in zip(ours, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-6), f"step {other['step']}"


def lightning(overrides: list[str]) -> Callable[[], int]:
    """``python -m captioning train …`` in a fork; Lightning starts the second rank by the command line."""

    def work() -> int:
        sys.modules["__main__"] = captioning.__main__
        return captioning.__main__.main(["train", *overrides])

    return work


def test_two_ranks_are_one_process_with_the_same_global_batch(
    tiny_fine_tuned: Callable[..., list[str]],
    tiny_data: Path,
    tmp_path: Path,
    in_fork: Callable[..., Done],
    two_ranks: Ranks,
) -> None:
    """In their losses and in their scores, which are gathered over ranks."""

    def overrides(*more: str) -> list[str]:
        return tiny_fine_tuned(*SETTINGS, *more)

    train_here(compose(overrides(*ONE)), tmp_path / "runs" / "one")
    done = in_fork(two_ranks(overrides(*TWO, "name=two")), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (read_metrics(tmp_path / "runs" / name / "metrics.csv") for name in ("one", "two"))
    steps = [row for row in one if "train/loss" in row]
    assert len(steps) == 3 * 3
    same(two, one)
    assert len({row["train/loss"] for row in steps}) == len(steps)
    finals = [json.loads((tmp_path / "runs" / name / "summary.json").read_text()) for name in ("one", "two")]
    scores = [{name: value for name, value in final.items() if name.startswith("test/")} for final in finals]
    assert scores[0] and scores[0] == pytest.approx(scores[1], rel=1e-4)
    run = tmp_path / "runs" / "two"
    best = max((row for row in two if "val/ROUGE-L" in row), key=lambda row: (row["val/ROUGE-L"], -row["val/nll"]))
    places = [f"data.root={tiny_data}", f"data.features_root={tmp_path / 'features'}"]
    found = evaluate(run, "val", places, device="cpu").scores
    told = {name: best[f"val/{name}"] for name in found if f"val/{name}" in best}
    assert told == pytest.approx({name: found[name] for name in told}, abs=1e-6) and "ROUGE-L" in told
    assert len(json.loads((run / "captions_val.json").read_text())) == 3  # odd: one rank had one photograph more


def test_two_ranks_read_clips_as_one_process_does(
    tiny_run_on_clips: Callable[..., list[str]],
    tmp_path: Path,
    in_fork: Callable[..., Done],
    two_ranks: Ranks,
) -> None:
    overrides = tiny_run_on_clips("trainer.max_epochs=2", f"out={tmp_path}")
    train_here(compose([*overrides, *ONE]), tmp_path / "one")
    done = in_fork(two_ranks([*overrides, *TWO, "name=two"]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (read_metrics(tmp_path / name / "metrics.csv") for name in ("one", "two"))
    same(two, one)


@pytest.fixture
def machines() -> Iterator[list[tuple[str, str]]]:
    """Two network namespaces with a cable between them, which see no other network: their files, and their devices."""
    here = [(f"captioning-{os.getpid()}-{side}", f"cap{os.getpid() % 10**6}{side}") for side in "ab"]
    (a, first), (b, second) = here
    lines = [f"netns add {a}", f"netns add {b}", f"link add {first} netns {a} type veth peer name {second} netns {b}"]
    for number, (name, device) in enumerate(here, 1):
        lines += [f"-n {name} addr add 10.213.7.{number}/24 dev {device}"]
        lines += [f"-n {name} link set {each} up" for each in ("lo", device)]
    try:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True, capture_output=True, text=True)
        yield [(f"/run/netns/{name}", device) for name, device in here]
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs network namespaces: {getattr(error, 'stderr', error)}")
    finally:
        for name, _ in here:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def test_two_machines_are_one_process_with_the_same_global_batch(
    tiny: Callable[..., list[str]],
    tmp_path: Path,
    machines: list[tuple[str, str]],
    start_fork: Callable[..., Any],
) -> None:
    """Each has its own network, and a process that torchrun would start there."""
    overrides = tiny(*SETTINGS, "test=false")

    def machine(number: int) -> Callable[[], int]:
        def work() -> int:
            network, device = machines[number]
            with Path(network).open() as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), 0) == 0
            os.environ |= {"MASTER_ADDR": "10.213.7.1", "MASTER_PORT": "29500", "GLOO_SOCKET_IFNAME": device}
            os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "RANK": str(number), "LOCAL_RANK": "0"}
            os.environ |= {"GROUP_RANK": str(number), "TORCHELASTIC_RUN_ID": "here"}
            rank_zero_only.rank = number  # Lightning looks for it when it is imported
            one_a_machine = ("trainer.devices=1", "trainer.num_nodes=2", "name=two")
            return captioning.__main__.main(["train", *overrides, *TWO[:1], *TWO[2:], *one_a_machine])

        return work

    train_here(compose([*overrides, *ONE]), tmp_path / "runs" / "one")
    started = [start_fork(machine(number), cwd=tmp_path) for number in (0, 1)]
    for done in [each.wait() for each in started]:
        assert done.returncode == 0, done.stderr
    one, two = (read_metrics(tmp_path / "runs" / name / "metrics.csv") for name in ("one", "two"))
    assert sum("train/loss" in row for row in one) == 3 * 3
    same(two, one)


def test_fewer_photographs_than_processes_get_a_sentence() -> None:
    """Lightning would stop one rank with a traceback while the other waits."""
    photos = CaptionedPhotos("own", {"val": [Photo(1, Path("only.jpg"), ("a dog",))]})
    data = PhotoData(photos, features=None, image=lambda photo: torch.zeros(1))
    assert len(data.val_dataloader()) == 1
    data.trainer = SimpleNamespace(world_size=2, global_rank=1)  # type: ignore[assignment]
    with pytest.raises(CaptioningError, match=r"the val split has 1 of what 2 processes read.*trainer\.devices=1"):
        data.val_dataloader()


FIXED = '''
import torch
from captioning.training.objectives import SelfCritical

class Fixed(SelfCritical):
    """Draws captions by the photograph and the step alone: two ranks have other random numbers than one process."""

    def forward(self, decoder, features, batch, step):
        self.numbers = [torch.Generator().manual_seed(1000 * step + photo) for photo in batch.photos.tolist()]
        return super().forward(decoder, features, batch, step)

    def draw(self, decoder, features):
        words = len(self.vocabulary)
        tokens = torch.stack([torch.randint(4, words, (3, 5), generator=each) for each in self.numbers])
        tokens[:, 0, 2:] = torch.tensor([2, 0, 0])  # lengths differ: the mean is over the words of both ranks
        tokens[:, 1, 4] = 2
        return tokens, None
'''


def test_two_ranks_reward_the_same_captions_as_one_process(
    tiny: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_fork: Callable[..., Done]
) -> None:
    """The reward is a rank's own, sums and counts are those of the global batch; the captions are given here."""
    (tmp_path / "fixed.py").write_text(FIXED)
    monkeypatch.syspath_prepend(tmp_path)
    own = ("objective=self_critical", "objective._target_=fixed.Fixed", "objective.cross_entropy=0.5")
    short = (*SETTINGS[:2], "trainer.max_epochs=2", "test=false")
    train_here(compose(tiny(*short, *own, *ONE)), tmp_path / "runs" / "one")
    done = in_fork(lightning(tiny(*short, *own, *TWO, "name=two")), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (read_metrics(tmp_path / "runs" / name / "metrics.csv") for name in ("one", "two"))
    same(two, one)
    assert len({row["train/self_critical"] for row in one if "train/self_critical" in row}) == 2 * 3
    assert all("train/reward" in row for row in one if "train/loss" in row)


def test_one_of_two_ranks_dies_and_both_go_on_as_one_process_that_was_never_stopped(
    tiny: Callable[..., list[str]],
    tmp_path: Path,
    start_fork: Callable[..., Any],
    two_ranks: Ranks,
) -> None:
    """With worker processes, in the middle of an epoch; the other rank ends with a sentence.

    The loss is of sequences, smoothed, with a penalty of attention: sums over what the ranks count differently.
    """
    summed = ("decoder=show_attend_tell", "objective.label_smoothing=0.1", "objective.per=sequence")
    settings = tiny(*SETTINGS, *summed, "test=false", "checkpoint_minutes=0", "trainer.max_epochs=4")
    train_here(compose([*settings, *ONE]), tmp_path / "runs" / "one")
    overrides = [*settings, *TWO, "data.workers=1", "name=two"]
    last = tmp_path / "runs" / "two" / "checkpoints" / "last.ckpt"
    ranks, deadline = start_fork(two_ranks(overrides), cwd=tmp_path), time.monotonic() + 200
    while not (last.exists() and torch.load(last, weights_only=True)["global_step"] >= 4):
        assert ranks.running() and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.05)
    (other,) = Path(f"/proc/{ranks.process}/task/{ranks.process}/children").read_text().split()[:1]
    os.kill(int(other), signal.SIGKILL)
    done = ranks.wait()
    assert done.returncode == 1
    *_, last_line = done.stderr.splitlines()
    assert "captioning: error: Another process of this training has died or can't be reached" in last_line, done.stderr
    stopped = torch.load(last, weights_only=True)["global_step"]
    assert 4 <= stopped < 12
    done = start_fork(two_ranks(overrides), cwd=tmp_path).wait()
    assert done.returncode == 0, done.stderr
    one, two = (read_metrics(tmp_path / "runs" / name / "metrics.csv") for name in ("one", "two"))
    same(two, one)
