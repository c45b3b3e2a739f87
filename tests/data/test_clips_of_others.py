"""Readers of MSVD, of MSR-VTT and of own clips."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from captioning.core.errors import CaptioningError
from captioning.data import read_msr_vtt, read_msvd, read_own


def msvd(folder: Path) -> Path:
    """Three clips, of which the third one's file is missing; the last line of the names has no newline."""
    (folder / "youtube_mapping.txt").write_text("a_1_2 vid1\nb-_3_4 vid2\nc_5_6 vid3")
    (folder / "sents_train_lc_nopunc.txt").write_text("vid1\ta man runs\nvid1\tsomeone runs\n\nvid3\tgone\n")
    (folder / "sents_val_lc_nopunc.txt").write_text("vid2\ta cat plays\n")
    (folder / "sents_test_lc_nopunc.txt").write_text("vid3\tgone\n")
    for name in ("a_1_2.avi", "b-_3_4.mp4"):
        (folder / name).touch()
    return folder


def test_msvd_s_files_are_read_and_missing_clips_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = msvd(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = read_msvd(folder, folder)
    told = {split: [(clip.id, clip.path.name, clip.captions) for clip in found[split]] for split in found.splits}
    assert told == {
        "train": [("a_1_2", "a_1_2.avi", ("a man runs", "someone runs"))],
        "val": [("b-_3_4", "b-_3_4.mp4", ("a cat plays",))],
    }
    assert "2 clips are not here and are left out" in caplog.text


def test_msvd_s_faults_are_named(tmp_path: Path) -> None:
    folder = msvd(tmp_path)
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(CaptioningError, match=r"empty: none of MSVD's clips is here, such as a_1_2, c_5_6"):
        read_msvd(folder, empty)
    with pytest.raises(CaptioningError, match=r"youtube_mapping\.txt: there is no such file"):
        read_msvd(empty, folder)
    with pytest.raises(CaptioningError, match="nowhere: there is no such folder"):
        read_msvd(folder, tmp_path / "nowhere")
    (folder / "sents_val_lc_nopunc.txt").write_text("vid2 a cat plays\n")
    with pytest.raises(CaptioningError, match=r"sents_val_lc_nopunc\.txt, line 1: 'vid2 a cat plays' is no pair"):
        read_msvd(folder, folder)
    (folder / "sents_val_lc_nopunc.txt").write_text("vid9\ta cat plays\n")
    with pytest.raises(CaptioningError, match="vid9 has captions and no name"):
        read_msvd(folder, folder)


def test_the_real_msvd_has_its_six_clips(shared: Path) -> None:
    found = read_msvd(shared / "sequences" / "msvd", shared / "sequences" / "msvd_clips")
    assert len(found["train"]) == 6 and sum(len(clip.captions) for clip in found) == 211


def vtt(folder: Path, **more: Any) -> dict[str, Any]:
    for number in range(3):
        (folder / f"video{number}.mp4").touch()
    splits = ("train", "validate", "test", "test")
    content = {
        "videos": [{"video_id": f"video{number}", "split": split} for number, split in enumerate(splits)],
        "sentences": [
            {"video_id": f"video{number}", "caption": f"clip {number}, {place}"}
            for place in range(2)
            for number in range(4)
        ],
        **more,
    }
    (folder / "info.json").write_text(json.dumps(content))
    return content


def test_msr_vtt_s_json_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    vtt(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = read_msr_vtt(tmp_path, ["info.json"], tmp_path)
    assert {split: [clip.id for clip in clips] for split, clips in found.splits.items()} == {
        "train": ["video0"],
        "val": ["video1"],
        "test": ["video2"],
    }
    assert found["val"][0].captions == ("clip 1, 0", "clip 1, 1")
    assert "1 clips are not here" in caplog.text


def test_msr_vtt_s_faults_are_named(tmp_path: Path) -> None:
    vtt(tmp_path, sentences=[{"video_id": "video0"}])
    with pytest.raises(CaptioningError, match=r"info\.json: this is not one of MSR-VTT's files.*'caption'"):
        read_msr_vtt(tmp_path, ["info.json"], tmp_path)
    vtt(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        CaptioningError, match=r"empty: none of the clips of info\.json is here, such as video0, video1"
    ):
        read_msr_vtt(tmp_path, ["info.json"], tmp_path / "empty")
    with pytest.raises(CaptioningError, match="nowhere: there is no such folder"):
        read_msr_vtt(tmp_path, ["info.json"], tmp_path / "nowhere")


def test_own_clips_are_a_table_of_clip_caption_and_split(tmp_path: Path) -> None:
    rows = ["clip,caption,split"]
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.mp4").touch()
        rows += [f"{split}.mp4,a dog runs,{split}"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    assert [clip.path.name for clip in read_own(tmp_path)] == ["train.mp4", "val.mp4", "test.mp4"]
