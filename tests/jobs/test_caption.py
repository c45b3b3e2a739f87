"""``captioning caption`` on untrained captioners: the n best captions, ensembles, JSON, and a search of one's own."""

import errno
import io
import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.__main__ import main
from captioning.core import images
from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import END, SPECIAL, Vocabulary
from captioning.jobs.caption import parser
from captioning.jobs.config import compose
from captioning.jobs.options import search_of
from captioning.predict.captioner import Captioner
from captioning.runs import parts
from captioning.runs.checkpoint import own_part
from captioning.search import Beam, Consensus, ConstrainedBeam, DiverseBeam, Search

WORDS = ("ein", "größer", "süßer", "roter", "ball", "öl", "groß", "gelb")
Untrained = Callable[..., Path]


@pytest.fixture
def untrained(tiny: Callable[..., list[str]], tmp_path: Path) -> Untrained:
    """``untrained("a.ckpt", "decoder=show_tell", seed=1)``: a checkpoint."""

    def save(name: str, *overrides: str, seed: int = 0, search: dict[str, object] | None = None) -> Path:
        config, vocabulary = compose(tiny("encoder.last_stage=layer1", *overrides)), Vocabulary([*SPECIAL, *WORDS])
        torch.manual_seed(100)
        encoder = parts.make_encoder(config)
        torch.manual_seed(seed)
        decoder = parts.make_decoder(config, vocabulary, encoder.spec)
        with torch.no_grad():
            decoder.word_layer.weight.mul_(8)
            decoder.word_layer.bias[END] = -2.0
        config = {**config, "search": search or config["search"]}
        weights = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder}).state_dict()
        own = own_part(config, {"vocabulary": vocabulary.words})
        torch.save({"state_dict": weights, "captioning": own}, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / "photos" / f"{name}.png" for name in "ab"]
    paths[0].parent.mkdir()
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return paths


def caption(*arguments: object, encoding: str = "utf-8") -> tuple[int, str, str]:
    """Status, output and errors; the output is a stream of bytes, as a shell has it."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding=encoding), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(["caption", *map(str, arguments), "--device", "cpu"])
    out.flush()
    assert "Traceback" not in err.getvalue()
    return status, out.buffer.getvalue().decode(), err.getvalue()


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_the_n_best_are_a_line_each_with_the_score_they_are_ranked_by(
    untrained: Untrained, photos: list[Path], tmp_path: Path
) -> None:
    checkpoint, file = untrained("a.ckpt", "decoder=show_tell", "data.minimum_count=2"), tmp_path / "out.json"
    command = [*photos, "--checkpoint", checkpoint, "--beam", 4]
    expected = list(Captioner.load(checkpoint, "cpu").caption(photos, Beam(4), n=3))
    status, printed, errors = caption(*command, "--n-best", 3, "--json", file)
    assert (status, errors) == (0, "")
    assert [row[1] for row in rows(printed)] == [each.text for captions in expected for each in captions]
    content = json.loads(file.read_text("utf-8"))
    assert [row["image"] for row in content] == [str(path) for path in photos]
    for row, captions in zip(content, expected, strict=True):
        assert row.keys() == {"image", "captions"}
        assert [each["caption"] for each in row["captions"]] == [each.text for each in captions]
        assert [each["score"] for each in row["captions"]] == pytest.approx([each.score for each in captions])
    assert caption(*command, "--n-best", 1, "--json", file)[0] == 0
    assert all(row.keys() == {"image", "caption", "score"} for row in json.loads(file.read_text("utf-8")))


def test_columns(untrained: Untrained, photos: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = untrained("a.ckpt", "decoder=show_tell")
    command = ["caption", *map(str, photos), "--checkpoint", str(checkpoint), "--beam", "4", "--device", "cpu"]
    assert main([*command, "--n-best", "3"]) == 0
    several = rows(capsys.readouterr().out)
    assert main(command) == 0
    one = rows(capsys.readouterr().out)
    assert [row[0] for row in several] == [str(path) for path in photos for _ in range(3)]
    assert several[::3] == [[*row, several[3 * place][2]] for place, row in enumerate(one)]
    for place in (0, 3):
        scores = [float(row[2]) for row in several[place : place + 3]]
        assert scores == sorted(scores, reverse=True) and scores[0] < 0
        assert len({row[1] for row in several[place : place + 3]}) == 3


def test_samples_are_as_many_as_asked_for(
    untrained: Untrained, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["caption", str(photos[0]), "--checkpoint", str(untrained("a.ckpt")), "--sample", "--device", "cpu"]
    assert main([*command, "--n-best", "7", "--temperature", "2"]) == 0
    assert len(rows(capsys.readouterr().out)) == 7


def test_json_on_standard_output_is_all_that_stands_there(
    untrained: Untrained, photos: list[Path], tmp_path: Path
) -> None:
    checkpoint = untrained("a.ckpt", "decoder=show_tell")
    status, text, errors = caption(*photos, "--checkpoint", checkpoint, "--beam", 8, "--json", "-", encoding="ascii")
    assert (status, errors) == (0, "")
    content = json.loads(text)
    assert [row["image"] for row in content] == [str(path) for path in photos]
    assert not text.isascii()  # the words as they are, though the terminal's encoding lacks their letters
    assert not (Path.cwd() / "-").exists()


def test_several_checkpoints_are_one_ensemble(
    untrained: Untrained, photos: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = untrained("a.ckpt", "decoder=show_attend_tell", "decoder.attention_size=8", "search.max_length=5")
    second = untrained("b.ckpt", "decoder=neuraltalk", "encoder.image_size=48", seed=1)
    command = ["caption", *map(str, photos), "--device", "cpu", "--beam", "3", "--n-best", "2"]
    command += ["--checkpoint", str(first), "--checkpoint", str(second)]
    found = {}
    for average in ("probabilities", "log-probabilities"):
        assert main([*command, "--average", average]) == 0
        found[average] = rows(capsys.readouterr().out)
        together = Captioner.load([first, second], "cpu", average=average)  # type: ignore[arg-type]
        captions = [each for several in together.caption(photos, Beam(3), n=2) for each in several]
        assert [row[1] for row in found[average]] == [each.text for each in captions]
        assert [float(row[2]) for row in found[average]] == pytest.approx([each.score for each in captions], abs=1e-3)
    assert found["probabilities"] != found["log-probabilities"]
    assert main([*command, "--attention", str(tmp_path / "seen.png")]) == 0
    assert rows(capsys.readouterr().out) == found["probabilities"]
    assert (tmp_path / "seen.png").stat().st_size and (tmp_path / "seen_2.png").stat().st_size


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--n-best", "2"],
            "greedy search finds one. Take beam search of a width of 2 or more (--beam 2), or --sample",
        ),
        (["--n-best", "5", "--beam", "3"], "beam search of width 3 finds 1 to 3. Take a width of 5 or more (--beam 5"),
        (["--n-best", "0"], "0 captions of each photograph: ask for 1 or more"),
        (["--average", "probabilities"], "--average has no effect on one checkpoint"),
        (["--must-say", "zebra"], "the captioner's vocabulary has no word 'zebra', so no caption can say it"),
        (["--must-say", "öl", "--sample"], "Sample can't be made to say given words. Take beam search (--beam 5"),
        (["--beam", "5", "--groups", "2"], "search.groups=2: 5 beams can't be divided"),
    ],
)
def test_what_it_cannot_do_is_a_sentence(
    untrained: Untrained, photos: list[Path], options: list[str], said: str
) -> None:
    status, text, errors = caption(photos[0], "--checkpoint", untrained("a.ckpt"), *options)
    assert (status, text) == (1, "")
    assert said in errors and len(errors.splitlines()) == 1


def test_words_that_must_be_said_groups_and_endings(untrained: Untrained, photos: list[Path]) -> None:
    """Each option searches as the class that it stands for."""
    checkpoint = untrained("a.ckpt", "decoder=show_tell", "search.max_length=8")
    captioner = Captioner.load(checkpoint, "cpu")
    command = [*photos, "--checkpoint", checkpoint]
    searches: list[tuple[list[object], Search]] = [
        (
            ["--must-say", "öl", "--must-say", "gelb|groß öl"],
            ConstrainedBeam(1, 8, must_say=["öl", "gelb|groß öl"]),
        ),
        (["--beam", 3, "--must-say", "öl"], ConstrainedBeam(3, must_say=["öl"])),
        (["--groups", 3, "--diversity", 2, "--n-best", 3], DiverseBeam(6, 3, 2.0, n_best=3)),
        (["--beam", 4, "--groups", 2, "--n-best", 3], DiverseBeam(4, 2, 0.5, n_best=3)),
        (["--beam", 2, "--remove-bad-endings"], Beam(2, remove_bad_endings=True)),
        (["--consensus", "--beam", 4, "--n-best", 2], Consensus(4, n_best=2)),
        (["--consensus", "--beam", 7, "--temperature", 3], Consensus(7, 3.0)),
    ]
    for options, search in searches:
        n = search.n_best if isinstance(search, Beam) else 1
        status, printed, errors = caption(*command, *options)
        assert (status, errors) == (0, ""), options
        expected = [each.text for captions in captioner.caption(photos, search, n=n) for each in captions]
        assert [row[1] for row in rows(printed)] == expected, options


def test_the_options_start_from_the_search_of_training(untrained: Untrained) -> None:
    def chosen(*options: str, **trained: object) -> str:
        parsed = parser().parse_args(["a.png", "--checkpoint", "a.ckpt", *options])
        return str(search_of(parsed, {"search": {"_target_": "captioning.search." + trained.pop("kind"), **trained}}))

    diverse = {"kind": "DiverseBeam", "size": 8, "groups": 4}
    assert chosen("--diversity", "2", **diverse) == "diverse beam 8, groups 4, diversity 2.0"
    assert chosen("--beam", "4", **diverse) == "diverse beam 4, groups 4"
    several = {"kind": "Consensus", "size": 9, "temperature": 3.0, "max_length": 12}
    assert chosen(**several) == "consensus 9, temperature 3.0, max length 12"
    assert chosen("--consensus", **several) == "consensus 9, temperature 3.0, max length 12"
    assert chosen("--temperature", "2", **several) == "consensus 9, temperature 2.0, max length 12"
    assert chosen("--groups", "2", "--beam", "4", **several) == "diverse beam 4, groups 2, max length 12"
    trained = {"kind": "Beam", "size": 8, "length_penalty": 0.3, "max_length": 12, "block_ngrams": 2}
    assert chosen("--consensus", **trained) == "consensus 20, max length 12, block ngrams 2"
    assert chosen("--consensus", "--length-penalty", "0.4", kind="Greedy") == "consensus 20, length penalty 0.4"
    assert chosen("--consensus", **diverse) == "consensus 20"
    assert chosen(kind="ConstrainedBeam", must_say=["a", "b c"]) == "constrained beam 5, must say a; b c"
    assert chosen("--beam", "3", kind="ConstrainedBeam", must_say=["a"]) == "constrained beam 3, must say a"
    assert chosen("--must-say", "b", kind="ConstrainedBeam", must_say=["a"]) == "constrained beam 5, must say b"
    assert chosen("--no-remove-bad-endings", kind="Greedy", remove_bad_endings=True) == "greedy"
    assert chosen("--beam", "3", kind="Beam", remove_bad_endings=True) == "beam 3, remove bad endings"
    assert chosen("--remove-bad-endings", kind="Greedy") == "greedy, remove bad endings"
    assert chosen("--sample", "--remove-bad-endings", kind="Greedy") == "sample, seed 0, remove bad endings"
    together = ["--consensus", "--groups", "2"], ["--sample", "--consensus"], ["--beam", "3", "--temperature", "2"]
    for option in (["--consensus"], ["--groups", "2"]):
        with pytest.raises(CaptioningError, match="can't be made to say the words that this captioner's search must"):
            chosen(*option, kind="ConstrainedBeam", must_say=["a"])
    with pytest.raises(CaptioningError, match="--groups has no effect in a consensus"):
        chosen("--consensus", "--groups", "2", kind="Greedy")
    for options in (["--diversity", "1", "--beam", "3"], ["--sample", "--groups", "2"], *together):
        with pytest.raises(CaptioningError, match="has no effect"):
            chosen(*options, kind="Greedy")


OWN = """
from captioning import Search
from captioning.search import Captions, Greedy


class Shout(Search):
    def __init__(self, max_length=20, mood="calm", weights=()):
        super().__init__(max_length)
        self.mood, self.weights = mood, weights

    def search(self, decoder, features, attention):
        assert self.mood == "loud" and list(self.weights) == [0.5]
        return Greedy(self.max_length).search(decoder, features, attention)
"""


def test_a_search_of_ones_own_is_used_where_its_module_is_named(
    untrained: Untrained,
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shouting.py").write_text(OWN)
    settings = {"_target_": "shouting.Shout", "max_length": 6, "mood": "loud", "weights": [0.5], "length_penalty": 1}
    checkpoint = untrained("a.ckpt", search=settings)
    command = [photos[0], "--checkpoint", checkpoint, "--json", "-"]
    status, text, errors = caption(*command)
    assert (status, text) == (1, "") and "--trust shouting" in errors
    status, text, errors = caption(*command, "--trust", "shouting")
    assert status == 0
    assert "shouting.Shout has no setting length_penalty: left out." in caplog.text  # of the group that it stands on
    (greedy,) = Captioner.load(untrained("b.ckpt", "search.max_length=6"), "cpu").caption(photos[0])
    assert json.loads(text)[0]["caption"] == greedy.text
    status, text, errors = caption(*command, "--trust", "shouting", "--max-length", 3)
    assert (status, text) == (1, "")
    assert "--max-length has no effect on Shout, the search of this configuration" in errors
    status, _, errors = caption(*command, "--trust", "shouting", "--remove-bad-endings")
    assert status == 1 and "--remove-bad-endings has no effect on Shout" in errors
    status, _, errors = caption(*command, "--trust", "shouting", "--n-best", 2)
    assert status == 1 and "Shout finds 1" in errors
    assert caption(*command, "--trust", "shouting", "--beam", 3)[0] == 0  # another search, said on the command line
    huge = untrained("c.ckpt", search={**settings, "max_length": 10**9})
    status, _, errors = caption(photos[0], "--checkpoint", huge, "--trust", "shouting")
    assert status == 1 and "max_length=1000000000, and 1000 is the most" in errors


def test_one_damaged_picture_is_named_and_the_rest_are_captioned(untrained: Untrained, photos: list[Path]) -> None:
    broken = photos[0].parent / "aa.png"
    broken.write_bytes(photos[0].read_bytes()[:60])
    os.mkfifo(photos[0].parent / "pipe.jpg")
    checkpoint = untrained("a.ckpt")
    _, alone, _ = caption(*photos, "--checkpoint", checkpoint)
    status, out, said = caption(photos[0].parent, "--checkpoint", checkpoint, "--batch-size", 2)
    assert status == 1 and out == alone
    assert [line.split(": ")[1] for line in said.splitlines()] == [str(broken), str(photos[0].parent / "pipe.jpg")]
    captioner = Captioner.load(checkpoint)
    given = [broken, photos[0], Image.open(broken), photos[1], photos[0]]
    problems: dict[int, str] = {}
    found = captioner.caption(given, batch_size=2, unusable=lambda place, error: problems.update({place: str(error)}))
    first, second, again = (each.text for each in found)
    assert [first, second] == [line.split("\t")[1] for line in alone.splitlines()] and again == first
    assert list(problems) == [0, 2] and all(each.startswith(f"{broken}: ") for each in problems.values())
    for batch_size in (1, 2, 16):
        stream = captioner.caption([*photos, broken, photos[0]], batch_size=batch_size)
        assert [next(stream).text, next(stream).text] == [first, second]
        with pytest.raises(CaptioningError, match=str(broken)):
            next(stream)
    with pytest.raises(CaptioningError, match="picture 2 of those given"):
        captioner([photos[0], Unloadable()])


class Unloadable(Image.Image):
    def load(self) -> None:
        raise SyntaxError("broken")


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "last.ckpt")
    for path in (tmp_path, tmp_path / "last.ckpt"):
        with pytest.raises(CaptioningError, match=r"last\.ckpt: this checkpoint can't be read, for it is a pipe"):
            Captioner.load(path)


def test_names_that_begin_with_a_dash(
    untrained: Untrained, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = untrained("a.ckpt")
    monkeypatch.chdir(photos[0].parent)
    photos[0].rename("-a.png")
    output = io.StringIO()
    with redirect_stdout(output):
        assert main(["caption", "--checkpoint", str(path), "--", "-a.png", "b.png"]) == 0
    assert [line.partition("\t")[0] for line in output.getvalue().splitlines()] == ["-a.png", "b.png"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_that_lacks_characters(
    encoding: str, untrained: Untrained, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, name = untrained("a.ckpt"), photos[0].with_name("süß ☃.png")
    photos[0].rename(name)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert main(["caption", str(name), "--checkpoint", str(path)]) == 0
    sys.stdout.flush()
    shown = {"ascii": rb"s\xfc\xdf \u2603.png", "cp1252": b"s\xfc\xdf \\u2603.png", "utf-8": "süß ☃.png".encode()}
    assert shown[encoding] in written.getvalue()


def test_empty_captions_are_said(untrained: Untrained, photos: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = untrained("a.ckpt")
    content = torch.load(path, weights_only=True)
    content["state_dict"]["decoder.word_layer.bias"][END] = 1000.0
    torch.save(content, path)
    assert main(["caption", *map(str, photos), "--checkpoint", str(path), "--beam", "5"]) == 0
    assert "2 of 2 captions are empty: to end at once was the most probable sentence" in capsys.readouterr().err


def test_a_decoder_s_warning_names_the_picture(
    untrained: Untrained, photos: list[Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "showwarning", images._show_warning)  # pytest records warnings itself
    with images.usable(photos[1]):
        warnings.warn("Corrupt EXIF data", stacklevel=1)
    assert caplog.messages == [f"{photos[1]}: Corrupt EXIF data"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device of Linux")
def test_a_full_disk_behind_the_output_is_a_sentence(
    untrained: Untrained, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = untrained("a.ckpt")
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=False)
    monkeypatch.setattr(sys, "stdout", full)
    assert main(["caption", str(photos[0]), "--checkpoint", str(path)]) == 1
    assert "captioning: error: No space left on device. Free some space" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    assert main(["caption", str(photos[0]), "--checkpoint", str(path), "--json", "/dev/full"]) == 1
    assert "/dev/full: the disk is full" in capsys.readouterr().err


def test_a_name_that_is_too_long_is_a_sentence(photos: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caption", str(photos[0]), "--checkpoint", "x" * 5000]) == 1
    assert "xxx: File name too long. Check the path" in capsys.readouterr().err


def test_no_file_handles_left_is_a_sentence(
    photos: list[Path], untrained: Untrained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    path = untrained("a.ckpt")
    monkeypatch.setattr("captioning.jobs.caption.find_pictures", none_left)
    assert main(["caption", str(photos[0]), "--checkpoint", str(path)]) == 1
    assert "captioning: error: Too many open files. Raise the limit (ulimit -n)" in capsys.readouterr().err


def test_names_without_a_picture_are_named_and_the_rest_are_captioned(
    untrained: Untrained, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in quotes, ``--checkpoint=~/…``: shells leave ``~`` there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "empty.jpg").mkdir()
    checkpoint = f"--checkpoint=~/{untrained('a.ckpt').name}"
    names = [tmp_path / "empty.jpg", "http://example.org/a.jpg", tmp_path / "*.gif"]
    status, out, err = caption(*names, "~/photos", checkpoint)
    assert status == 1 and [row[0] for row in rows(out)] == list(map(str, photos))
    assert len(err.splitlines()) == 3 and "http://example.org/a.jpg: this is an address. Fetch" in err
    assert f"{tmp_path / '*.gif'}: no picture there" in err and f"{tmp_path / 'empty.jpg'}: no picture there" in err
    status, out, err = caption("", photos[0], checkpoint)
    assert (status, out) == (2, "") and "is a variable of the shell not set?" in err
