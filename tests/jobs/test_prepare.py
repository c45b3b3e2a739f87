"""``captioning prepare``, as it is typed."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from captioning.__main__ import main
from captioning.data import coco_archives, extraction


def test_scenes_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "scenes"
    assert main(["prepare", "data=scenes", f"data.root={root}", "data.count=24"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "scenes train: 20 photographs, 100 captions",
        "scenes val: 2 photographs, 10 captions",
        "scenes test: 2 photographs, 10 captions",
    ]
    assert len(list((root / "train").iterdir())) == 20


@pytest.mark.parametrize("data", ["flickr8k", "flickr8k_karpathy", "flickr30k", "own"])
def test_what_cannot_be_fetched_is_asked_for(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", f"data={data}", f"data.root={tmp_path / 'nowhere'}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"captioning: error: {tmp_path / 'nowhere'}")
    assert "Traceback" not in error
    assert "Ask for" in error or "caption_datasets.zip" in error or "Set data.root" in error


@pytest.mark.parametrize(("data", "year"), [("coco", 2017), ("coco2014", 2014), ("coco_karpathy", 2014)])
def test_coco_is_fetched(
    data: str, year: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(coco_archives, "fetch", lambda url, path, *rest: asked.append(url) or path.touch())
    monkeypatch.setattr(coco_archives, "unzip", lambda *rest: None)
    monkeypatch.setattr(coco_archives, "require_space", lambda *rest: None)
    root = tmp_path / "coco"
    assert main(["prepare", f"data={data}", f"data.root={root}"]) == 1  # nothing was really fetched
    assert asked == [
        f"http://images.cocodataset.org/{place}{year}.zip"
        for place in ("annotations/annotations_trainval", "zips/train", "zips/val")
    ]
    assert f"captioning: error: {root}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("features", "parts"), [(["grid"], ["grid"]), (["pooled", "grid"], ["pooled", "grid"])], ids=["one", "two"]
)
def test_features_before_between_and_after_settings(
    features: list[str], parts: list[str], tiny: Callable[..., list[str]], tmp_path: Path
) -> None:
    given = [word for part in features for word in ("--features", part)]
    settings = tiny()
    assert main(["prepare", *given[:2], *settings[:9], *given[2:], *settings[9:]]) == 0
    assert sorted(path.parent.name for path in tmp_path.rglob("manifest.json")) == sorted(parts)


OWN = """
from torch import Tensor, nn
from captioning.core.features import Features
from captioning.encoders import Encoder

class Bright(Encoder):
    def __init__(self, weights: None = None) -> None:
        super().__init__(image_size=8)

    def encode(self, images: Tensor) -> Features:
        rows = images.mean(3).transpose(1, 2)
        lengths = (rows.mean(2) > rows.mean((1, 2)).unsqueeze(1)).sum(1).clamp_min(1)
        return Features({"objects": lengths}, objects=rows, scene=rows.mean(1))
"""


def test_features_of_an_encoder_from_outside(
    tiny: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_bright_encoder.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    kept = [setting for setting in tiny() if not setting.startswith("encoder")]
    settings = [*kept, "encoder=none", "+encoder._target_=my_bright_encoder.Bright"]
    assert main(["prepare", *settings, "--features", "objects", "--features", "objects"]) == 0
    assert [path.parent.name for path in tmp_path.rglob("manifest.json")] == ["objects"]
    assert [path.parent.name for path in tmp_path.rglob("lengths.npy")] == ["objects"]
    capsys.readouterr()
    assert main(["prepare", *settings, "--features", "objects", "--features", "grid"]) == 1
    error = capsys.readouterr().err
    assert error == (
        "captioning: error: --features grid: the encoder's features have no such part. It has objects, scene.\n"
    )


@pytest.mark.slow
def test_actors_store_what_one_process_does_even_if_one_dies(
    tiny: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first batch that an actor encodes ends its process, as a machine of a cluster may end."""
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'captioning[ray]'")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's 15 has actors wait for all that runs beside the tests
    fatal = tmp_path / "fatal"
    dies = f"""
        if os.getpid() != {os.getpid()} and os.path.exists({str(fatal)!r}):
            os.remove({str(fatal)!r})
            os._exit(1)
"""
    begin = "        rows = images"
    (tmp_path / "my_mortal_encoder.py").write_text("import os\n" + OWN.replace(begin, dies + begin))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(extraction, "AT_ONCE", 2)
    kept = [setting for setting in tiny() if not setting.startswith(("encoder", "data.features_root"))]
    settings = [*kept, "encoder=none", "+encoder._target_=my_mortal_encoder.Bright", "--features", "objects"]
    assert main(["prepare", *settings, "data.features_root=alone"]) == 0
    fatal.touch()
    assert main(["prepare", *settings, "data.features_root=actors", "--ray", "2"]) == 0
    assert not fatal.exists() and not ray.is_initialized()
    alone, actors = (sorted(Path(root).rglob("objects/*")) for root in ("alone", "actors"))
    assert [path.relative_to("alone") for path in alone] == [path.relative_to("actors") for path in actors]
    assert len(alone) == 5 and all(a.read_bytes() == b.read_bytes() for a, b in zip(alone, actors, strict=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray", "2"], "--ray computes features: name them with --features."),
        (["--ray", "0", "--features", "grid"], "--ray 0: take 1 process or more."),
    ],
)
def test_options_of_actors_that_do_not_fit(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "data=scenes", *options]) == 1
    assert capsys.readouterr().err == f"captioning: error: {said}\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["prepare", "--help"])
    assert exit_.value.code == 0
    assert "data=coco" in capsys.readouterr().out
    assert "captioning.jobs.prepare" in sys.modules
