"""docs/security.md, sentence by sentence: each promise has a test of its number."""

import importlib.util
import inspect
import json
import logging
import pickle
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from captioning.__main__ import main
from captioning.core.errors import CaptioningError
from captioning.core.features import NO_FEATURES
from captioning.core.files import write_json
from captioning.core.locks import lock
from captioning.core.vocabulary import SPECIAL, CharacterVocabulary, Vocabulary
from captioning.data.coco_archives import ARCHIVES
from captioning.jobs.config import compose
from captioning.jobs.evaluated import evaluated
from captioning.jobs.train import train
from captioning.predict.captioner import Captioner
from captioning.predict.writer import Writer
from captioning.runs import parts
from captioning.runs.checkpoint import contents_of, own_part, read_checkpoint
from captioning.runs.folder import FolderError

Overrides = Callable[..., list[str]]
Stranger = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "security.md"
WORDS = Vocabulary([*SPECIAL, "a", "dog"])


def test_every_promise_has_a_test_and_every_test_a_promise() -> None:
    promised = re.findall(r"^- \*\*([CF]\d+)\*\* ", PAGE.read_text("utf-8"), re.MULTILINE)
    tested = {match[1].upper() for name in globals() if (match := re.match(r"test_([cf]\d+)_", name))}
    assert promised == sorted(promised, key=lambda name: (name[0], int(name[1:])))
    assert set(promised) == tested


@pytest.fixture(scope="module")
def content(tiny_settings: list[str]) -> bytes:
    """A checkpoint of an untrained captioner."""
    config = compose([*tiny_settings, "encoder.last_stage=layer1"])  # a small file
    encoder = parts.make_encoder(config)
    modules = {"encoder": encoder, "decoder": parts.make_decoder(config, WORDS, encoder.spec)}
    file = BytesIO()
    torch.save(
        {"state_dict": torch.nn.ModuleDict(modules).state_dict(), "captioning": own_part(config, contents_of(WORDS))},
        file,
    )
    return file.getvalue()


@pytest.fixture
def stranger(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    """Writes a stranger's checkpoint, with changes of its configuration, group by group, and of what else it holds."""
    monkeypatch.chdir(tmp_path)

    def make(change: dict[str, dict[str, Any]] | None = None, **others: Any) -> Path:
        loaded = torch.load(BytesIO(content), weights_only=True)
        for group, settings in (change or {}).items():
            loaded["captioning"]["config"].setdefault(group, {}).update(settings)
        loaded["captioning"]["config"]["search"] = others.pop("search", loaded["captioning"]["config"]["search"])
        for kind in ("vocabulary", "characters"):
            if kind in others:
                loaded["captioning"]["contents"] = {kind: others.pop(kind)}
        loaded["captioning"].update({key: value for key, value in others.items() if key != "weights"})
        loaded["state_dict"].update(others.get("weights", {}))
        path = tmp_path / "stranger.ckpt"
        torch.save(loaded, path)
        return path

    return make


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def refused(path: Path, said: str, photo: Path, capfd: pytest.CaptureFixture[str], *more: str) -> None:
    """Every command refuses the checkpoint, by a sentence that names the file."""
    for command in (["caption", str(photo), "--checkpoint", str(path)], ["evaluate", str(path), "data=own"]):
        assert main([*command, "--device", "cpu", *more]) == 1
        error = capfd.readouterr().err
        assert error.startswith(f"captioning: error: {path}: "), error
        assert re.search(said, error), error
        assert len(error.splitlines()) == 1


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_c1_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    for save in (torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))):
        save({"state_dict": {}, "captioning": Malicious(tmp_path / "owned")}, tmp_path / "evil.ckpt")
        for load in (Captioner.load, Writer.load, read_checkpoint):
            with pytest.raises(CaptioningError, match=r"evil\.ckpt: not a checkpoint that can be read"):
                load(tmp_path / "evil.ckpt")
    assert not (tmp_path / "owned").exists()


TARGETS = [
    *("os.system", "subprocess.Popen", "builtins.eval", "this.x", "antigravity.X", "lib2to3.__main__.x", "helper.Evil"),
    *("captioning.x", "captioning.core.files.os.system", "captioning.jobs.train.main", "captioning.decoders.nope"),
    *(
        "captioning.decoders.decoder.nn.Linear",
        "captioning.decoders.Decoder",
        "captioning.decoders.decoder.abstractmethod",
    ),
    *("captioning.decoders..x", "captioning.decoders.helper.Evil", "", None, 3, ["os"], {"_target_": "os.system"}),
]


@pytest.mark.parametrize("group", ["encoder", "decoder", "cell", "search"])
def test_c2_only_classes_of_this_package_are_built_and_no_other_module_is_imported(
    group: str, stranger: Stranger, photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "helper.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\nclass Evil: pass\n")
    before = set(sys.modules)
    for target in TARGETS:
        path = stranger({group: {"_target_": target}})
        with pytest.raises(CaptioningError, match=f"stranger.ckpt: its {group} is .*--trust"):
            Captioner.load(path, "cpu")
    refused(stranger({group: {"_target_": "this.x"}}), rf"its {group} is this\.x, .* --trust this ", photo, capfd)
    foreign = {
        name for name in set(sys.modules) - before if not name.startswith(("captioning", "torch", "numpy", "PIL"))
    }
    assert not foreign & {"this", "antigravity", "lib2to3", "helper"}
    assert not (tmp_path / "owned").exists()


BEAM, DRAW = {"_target_": "captioning.search.Beam"}, {"_target_": "captioning.search.Sample"}
WORDY = {"_target_": "captioning.search.ConstrainedBeam"}
EVIL = {"_target_": "helper.Evil"}
RESNET = {"_target_": "captioning.encoders.resnet.ResNet"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": EVIL}, r"its task is helper\.Evil, .* --trust helper "),
        ({"task": {"deeper": [EVIL]}}, r"its task asks for helper\.Evil to be made"),
        ({"task": {"_target_": "captioning.jobs.train.train"}}, r"its task is captioning\.jobs\.train\.train"),
        ({"decoder": {"cell": EVIL}}, r"its decoder asks for helper\.Evil to be made"),
        ({"search": BEAM | {"size": EVIL}}, r"its search"),
        ({"cell": {"deeper": {"deepest": EVIL}}}, r"its cell asks for helper\.Evil to be made"),
        ({"encoder": {"encoders": {"a": EVIL}}}, r"its encoder is helper\.Evil, .* --trust helper "),
        ({"encoder": {"encoders": {"a": RESNET | {"weights": EVIL}}}}, r"its encoder asks for helper\.Evil to be made"),
        ({"encoder": {"encoders": {"a": {"encoders": {"b": EVIL}}}}}, r"its encoder is null"),
        ({"encoder": {"encoders": {"a": RESNET | {"encoders": {"b": EVIL}}}}}, r"its encoder asks for helper\.Evil"),
        ({"encoder": {"encoders": {"a": "os.system"}}}, r"its encoder is no group of settings"),
        ({"decoder": {"encoders": {"a": RESNET}}}, r"its decoder asks for captioning\.encoders\.resnet\.ResNet"),
    ],
)
def test_c2_nothing_else_is_made_either(
    change: dict[str, Any], said: str, stranger: Stranger, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "helper.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\nclass Evil: pass\n")
    assert main(["evaluate", str(stranger(change)), "data=own", f"data.root={tmp_path}", "--device", "cpu"]) == 1
    assert re.search(said, capfd.readouterr().err)
    assert not (tmp_path / "owned").exists()


def test_c2_what_a_trusted_metric_asks_for_is_not_made(stranger: Stranger, tmp_path: Path) -> None:
    path = stranger({"metrics": {"mine": {"_target_": "mine.Metric", "thing": EVIL}}})
    with pytest.raises(CaptioningError, match=r"its metric asks for helper\.Evil to be made"):
        evaluated(read_checkpoint(path, ["mine"]), ["data=own", f"data.root={tmp_path}"], ["mine"])


def test_c2_metrics_of_a_stranger_are_left_out(stranger: Stranger, tmp_path: Path) -> None:
    read = read_checkpoint(stranger({"metrics": {"evil": EVIL, "spice": {"_target_": "captioning.metrics.Spice"}}}))
    kept = evaluated(read, ["data=own", f"data.root={tmp_path}"])["metrics"]
    assert "evil" not in kept and "spice" in kept


MINE = """
from captioning.decoders import NeuralTalk
class Mine(NeuralTalk):
    pass
"""


def test_c3_a_module_that_is_named_is_imported(
    stranger: Stranger, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_own_module.py").write_text(MINE)
    path = stranger({"decoder": {"_target_": "my_own_module.Mine"}})
    monkeypatch.setattr(sys, "path", sys.path[:])
    refused(path, "--trust my_own_module", photo, capfd, "--trust", "my_own", "--trust", "other")
    with pytest.raises(CaptioningError, match="--trust my_own_module"):
        Captioner.load(path, "cpu")
    for trust in ("my_own_module", "my_own_module.Mine"):
        assert main(["caption", str(photo), "--checkpoint", str(path), "--trust", trust, "--device", "cpu"]) == 0
        assert type(Captioner.load(path, "cpu", trust=[trust]).decoder).__name__ == "Mine"
    named = "decoder._target_=my_own_module.Mine"
    assert main(["evaluate", str(path), named, "data=own", f"data.root={tmp_path / 'none'}", "--device", "cpu"]) == 1
    assert "none: there is no" in capfd.readouterr().err  # the captioner was loaded; then the data were looked for


def test_c4_the_working_folder_is_no_place_for_modules(
    tmp_path: Path, stranger: Stranger, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "not_installed.py").touch()
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    command = ["caption", str(photo), "--checkpoint", str(stranger()), "--device", "cpu"]
    assert main(command) == 0
    assert importlib.util.find_spec("not_installed") is None
    assert main([*command, "--trust", "mine"]) == 0
    importlib.invalidate_caches()
    assert importlib.util.find_spec("not_installed")
    assert sys.path[-1] == str(tmp_path)  # last: no module of a library is found there instead


def test_c5_of_its_data_only_numbers_are_used(
    stranger: Stranger, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    (site / "src").mkdir(parents=True)
    (site / "manifest.json").write_text("{}")
    (site / "src" / "app.js").write_text("code")
    source = {"_target_": "captioning.data.read_scenes", "root": str(site), "count": 12}
    for change in (
        {"source": source, "features_root": str(tmp_path / "anywhere")},
        {"root": str(site), "source": source},
    ):
        before = sorted(tmp_path.rglob("*"))
        path = stranger({"data": change})
        assert main(["evaluate", str(path), "--split", "val", "--device", "cpu"]) == 1
        error = capfd.readouterr().err
        assert "what a checkpoint says of files is not acted on. Say where they are" in error
        assert sorted(tmp_path.rglob("*")) == sorted({*before, path})
    of_scenes = {"source": source, "features_root": "data/features", "root": "data/scenes", "count": 10**6}
    path = stranger({"choices": {"data": "scenes"}, "data": {**of_scenes, "workers": 300, "batch_size": -1}})
    assert main(["evaluate", str(path), "--device", "cpu"]) == 1
    assert "by adding: data.count=1000000" in capfd.readouterr().err
    assert main(["evaluate", str(path), "data.count=12", "--device", "cpu"]) == 0
    assert (tmp_path / "data" / "scenes" / "train").is_dir()  # this program's place
    assert sorted(path.name for path in site.rglob("*")) == ["app.js", "manifest.json", "src"]


def test_c6_what_else_it_names_is_neither_built_nor_resolved(
    stranger: Stranger, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECRET", "swordfish")
    evil = {"_target_": "builtins.open", "file": str(tmp_path / "owned"), "mode": "w"}
    everywhere = {"csv": evil, "callbacks": {"mine": evil}, "_target_": "builtins.open", "note": "${oc.env:SECRET}"}
    change: dict[str, dict[str, Any]] = dict.fromkeys(("logger", "optimizer", "scheduler", "trainer"), everywhere)
    change |= {"choices": {"data": "own"}, "data": {"name": "${oc.env:SECRET}", "root": "${oc.env:SECRET}"}}
    path = stranger(change)
    assert main(["caption", str(photo), "--checkpoint", str(path), "--device", "cpu"]) == 0
    assert main(["evaluate", str(path), "data.features_root=f", "--device", "cpu"]) == 1
    said = capfd.readouterr()
    assert "data.root=${oc.env:SECRET}" in said.err
    assert "swordfish" not in said.out + said.err
    assert not (tmp_path / "owned").exists()
    path = stranger({"decoder": {"inject": "${oc.env:SECRET}"}})
    with pytest.raises(CaptioningError, match=r"inject=\$\{oc\.env:SECRET\} is not one of its choices"):
        Captioner.load(path, "cpu")


HUGE = 10**9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoder": {"embedding_size": HUGE}}, "do not fit"),
        ({"decoder": {"hidden_size": HUGE}}, "makes no network"),
        ({"decoder": {"hidden_size": 10**18}}, "makes no network"),
        ({"decoder": {"depth": HUGE}}, "has a depth of 1000000000"),
        ({"decoder": {"hidden_size": -1}}, "makes no network"),
        ({"decoder": {"hidden_size": "9" * 300}}, "makes no network"),
        ({"decoder": {"output_dropout": "x"}}, "makes no network"),
        ({"encoder": {"image_size": HUGE}}, r"image_size=1000000000; up to 2048"),
        ({"encoder": {"image_size": [0, 5]}}, "image_size"),
        ({"encoder": {"image_size": "224"}}, "image_size"),
        ({"encoder": {"encoders": {"a": RESNET | {"image_size": HUGE}}}}, r"image_size=1000000000; up to 2048"),
        ({"encoder": {"encoders": {str(n): RESNET for n in range(9)}}}, "consists of 9 encoders; up to 8"),
        ({"search": {"max_length": HUGE}}, "max_length=1000000000, and 1000 is the most"),
        ({"search": {"_target_": "captioning.search.Beam", "size": HUGE}}, "size=1000000000, and 100 is the most"),
        ({"search": {"_target_": "captioning.search.Sample", "samples": HUGE}}, "samples=1000000000"),
        ({"search": {"_target_": "captioning.search.Sample", "temperature": 1e-320}}, "temperature=1e-320"),
    ],
)
def test_c7_sizes_are_bounded_by_what_is_there(
    change: dict[str, dict[str, Any]], said: str, stranger: Stranger
) -> None:
    path = stranger(change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CaptioningError, match=rf"^{path}: .*{said}"):
        Captioner.load(path, "cpu")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_c7_one_number_does_not_stand_for_a_large_weight(stranger: Stranger) -> None:
    odd = torch.zeros(6, 8)
    odd.numel = 5  # type: ignore[method-assign, assignment]
    assert read_checkpoint(stranger(weights={"decoder.embedding.weight": odd})).weights
    several = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    large = (torch.zeros(1).expand(HUGE, 8), torch.zeros(2).to_sparse(), torch.zeros(1, device="meta"), several)
    for tensor in (*large, torch.zeros(6, 8, dtype=torch.complex64), "text"):
        path = stranger(weights={"decoder.embedding.weight": tensor})
        with pytest.raises(CaptioningError, match=rf"^{path}: its weight decoder\.embedding\.weight is not whole"):
            Captioner.load(path, "cpu")


SEARCHES: list[dict[str, Any]] = [
    *(BEAM | {"length_penalty": value} for value in ("a", 1e308, float("nan"), -1)),
    *(BEAM | {name: True} for name in ("size", "max_length")),
    *(BEAM | {"max_length": value} for value in (0, -1, 1.5, None, [3])),
    *(DRAW | {"temperature": value} for value in ("x", 0, -1)),
    *(BEAM | {"remove_bad_endings": value} for value in ("x", None, [True])),
    *(WORDY | {"must_say": value} for value in ("dog", 3, None, [3], ["w" * 300], ["dog"] * 11, [["dog"]])),
    *({"_target_": "captioning.search.DiverseBeam", "groups": value} for value in (0, True, 10**9, "x")),
    *(DRAW | {"top_k": value} for value in ("x", 1.5, -1)),
    *(DRAW | {"seed": value} for value in ("x", 10**40, 1.5)),
    {"_target_": "captioning.search.Captions"},
    {"_target_": "captioning.search." + "a." * 60000 + "X"},
    BEAM | {"unknown": 3},
]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"version": 99}, "this checkpoint has version 99"),
        ({"config": None}, "has no configuration"),
        ({"config": {"encoder": [1]}}, "its encoder is no group of settings"),
        ({"config": {}}, "makes no network|names no class|names no task"),
        ({"vocabulary": None}, "its vocabulary is damaged"),
        ({"vocabulary": ["a", "b"]}, r"its vocabulary is damaged\. A vocabulary begins with"),
        ({"vocabulary": [*SPECIAL, 3]}, "its vocabulary is damaged"),
        ({"vocabulary": [*SPECIAL, "a\x1b[2J", "a\x1b[2J"]}, r"occur twice: \['a\\\\?x1b"),
        ({"weights": {"decoder.embedding.weight": torch.zeros(2, 2)}}, "1 weights of this checkpoint do not fit"),
        ({"weights": {"a\nb": torch.zeros(2)}}, r"a\\nb \(2,\) instead of none"),
        ({"version": "1\ncaptioning: all is well"}, r"this checkpoint has version 1\\ncaptioning"),
        ({"version": "v" * 10**6}, "this checkpoint has version v{100}…,"),
        ({"vocabulary": [*SPECIAL, "\udc9b31m", "b"]}, "its vocabulary is damaged"),
        ({"vocabulary": [*SPECIAL, "w" * 10**6, "b"]}, "its vocabulary is damaged"),
        ({"vocabulary": [*SPECIAL, "", "b"]}, "its vocabulary is damaged"),
        ({"characters": ["ab", "c"]}, "its vocabulary is damaged"),
        ({"contents": None}, "does not say what was trained"),
        ({"contents": {3: []}}, "does not say what was trained"),
        *[({"search": settings}, "its search|search|does not take") for settings in SEARCHES],
    ],
)
def test_c8_what_is_wrong_is_a_sentence(
    others: dict[str, Any], said: str, stranger: Stranger, photo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused(stranger(**others), said, photo, capfd)


def test_c9_control_characters_do_not_reach_the_terminal(
    stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "\x1b[2J\x07\ta\nb\r\x9b31m\u202e\u2028"
    path = stranger(vocabulary=[*SPECIAL, evil, f"{evil}2"])
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b\tc\nd\x1b.png", "no.png"):
        Image.new("RGB", (40, 40), "red").save(folder / name)
    (folder / "no.png").write_text("no picture")
    streams = [TextIOWrapper(BytesIO(), encoding="utf-8") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    sampling = ["--sample", "--seed", "2", "--max-length", "40", "--device", "cpu"]
    assert main(["caption", str(folder), str(folder / "\x1b.png"), "--checkpoint", str(path), *sampling]) == 1
    assert main(["caption", str(folder / "x\x1b*.png"), "--checkpoint", str(path)]) == 1
    out, err = (stream.buffer.getvalue().decode() for stream in streams if not stream.flush())
    lines = out.split("\n")
    assert lines.pop() == "" and len(lines) == 2 and all(line.count("\t") == 1 for line in lines)
    assert r"\x1b[2J" in out and r"b\tc\nd\x1b.png" in out
    assert not set("\x1b\x07\r\x9b\u202e\u2028") & set(out + err)
    odd = stranger({"decoder": {"\x1b[2Jevil": 1}})
    assert main(["caption", str(folder / "a.png"), "--checkpoint", str(odd), "--device", "cpu"]) == 1
    streams[1].flush()
    said = streams[1].buffer.getvalue().decode()
    assert "\x1b" not in said and r"\x1b[2Jevil" in said
    writer_text = "".join(sorted(set("ab\n\t\x1b\x9b")))
    config = compose(["experiment=char_rnn", "data.text=x", "decoder.hidden_size=8", "decoder.depth=1"])
    decoder = parts.make_decoder(config, CharacterVocabulary(writer_text), NO_FEATURES)
    weights = torch.nn.ModuleDict({"decoder": decoder}).state_dict()
    torch.save(
        {"state_dict": weights, "captioning": own_part(config, contents_of(CharacterVocabulary(writer_text)))}, path
    )
    stream = TextIOWrapper(BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["sample", "--checkpoint", str(path), "--length", "200"]) == 0
    stream.flush()
    written = stream.buffer.getvalue().decode()
    assert {"a", "b", "\n", "\t"} <= set(written) and r"\x1b" in written
    assert not set("\x1b\x9b") & set(written)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_f1_folders_of_somebody_else_are_refused_and_stay(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    for name in (
        "manifest.json",
        "config.yaml",
        "checkpoints/model.ckpt",
        "summary.json",
        "data_train.csv",
        ".hydra/x",
    ):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text("{}")
    before = everything(theirs)
    assert main(["prepare", "data=scenes", f"data.root={theirs}", "data.count=12"]) == 1
    assert "this holds something other than scenes" in capfd.readouterr().err
    with pytest.raises(FolderError, match="something other than a run"):
        train(compose(tiny("resume=false")), theirs)
    root = logging.getLogger()
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    monkeypatch.setattr(root, "handlers", root.handlers[:])  # Hydra makes them its own
    monkeypatch.setattr(sys, "path", sys.path[:])
    with pytest.raises(SystemExit):
        main(["train", *tiny(f"out={tmp_path}", "name=theirs")])
    assert "this holds something other than a run" in capfd.readouterr().err
    assert everything(theirs) == before


def test_f2_a_file_of_somebody_else_is_moved_aside(stranger: Stranger, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("my annotations")
    for _ in range(3):
        assert (
            main(["caption", str(photo), "--checkpoint", str(stranger()), "--json", str(out), "--device", "cpu"]) == 0
        )
    assert json.loads(out.read_text())[0]["image"] == str(photo)
    assert (tmp_path / "out.json.~1~").read_text() == "my annotations"
    assert not (tmp_path / "out.json.~2~").exists()


def test_f3_scenes_are_drawn_into_an_empty_folder_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scenes, photos = tmp_path / "scenes", tmp_path / "my_photos"
    (photos / "2019").mkdir(parents=True)
    write_json(photos / "manifest.json", {"version": 2, "count": 12, "seed": 0, "owner": "me"})
    (photos / "2019" / "wedding.jpg").write_text("precious")
    assert main(["prepare", f"data.root={scenes}", "data.count=12"]) == 0
    before = everything(tmp_path)
    for root, count in ((scenes, 24), (photos, 12), (photos, 24)):
        assert main(["prepare", f"data.root={root}", f"data.count={count}"]) == 1
        assert everything(tmp_path) == before


def test_f4_beginning_anew_removes_nothing(tiny: Overrides, tmp_path: Path) -> None:
    short = ("trainer.max_epochs=1", "test=false")
    train(compose(tiny(*short)), tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    before = everything(tmp_path / "run")
    train(compose(tiny(*short, "resume=false", "seed=2")), tmp_path / "run")
    after = everything(tmp_path / "run")
    for name, content in before.items():
        assert content in (after.get(name), after.get(f"earlier/1/{name}")) or name in ("train.log", ".lock"), name


def test_f5_features_belong_to_the_contents_of_photographs(tiny: Overrides, tiny_data: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_data, tmp_path / "other"))
    (other / "0.png").write_bytes((tiny_data / "1.png").read_bytes())
    features = tmp_path / "features"
    assert main(["prepare", "--features", "pooled", *tiny()]) == 0
    before = {name: content for name, content in everything(features).items() if not name.startswith("digests")}
    assert main(["prepare", "--features", "pooled", *tiny(f"data.root={other}")]) == 0
    after = everything(features)
    assert {name: after[name] for name in before} == before
    assert len({name.split("/")[0] for name in after if name.endswith("features.npy")}) == 2


def test_f6_an_archive_of_yours_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace
    from hashlib import sha256

    from captioning.data import coco_archives

    entries, archives = ("annotations/captions_train2017.json",), []
    with zipfile.ZipFile(tmp_path / "annotations_trainval2017.zip", "w") as zipped:
        zipped.writestr(entries[0], "{}")
    mine = tmp_path / "annotations_trainval2017.zip"
    content = mine.read_bytes()
    archive = replace(ARCHIVES[2017][0], size=len(content), sha256=sha256(content).hexdigest(), entries=entries)
    archives.append(archive)
    monkeypatch.setitem(coco_archives.ARCHIVES, 2017, tuple(archives))
    coco_archives.prepare_coco(tmp_path, 2017, "http://127.0.0.1:9")
    assert (tmp_path / entries[0]).read_text() == "{}"
    assert mine.read_bytes() == content


WRITING = """
import os, signal, sys
from captioning.core.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write("half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_f7_a_file_is_whole_or_not_there_and_nothing_half_written_stays(tmp_path: Path) -> None:
    from captioning.core.files import atomic_write

    path = tmp_path / "metrics.csv"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", WRITING, str(path)], cwd=ROOT)
        assert not path.exists()
        assert len(list(tmp_path.iterdir())) == 1
    with atomic_write(path) as file:
        file.write("whole")
    assert list(tmp_path.iterdir()) == [path]


def test_f8_a_run_s_folder_is_in_use_by_one_command(tiny: Overrides, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    holding = (
        "import sys\nfrom pathlib import Path\nfrom captioning.core.locks import lock\n"
        "with lock(Path(sys.argv[1]) / '.lock'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", holding, str(tmp_path / "run")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        with pytest.raises(FolderError, match=rf"run: in use by process {process.pid} of .*name=…"):
            train(compose(tiny("trainer.max_epochs=1", "test=false")), tmp_path / "run")
        process.communicate("")
    train(compose(tiny("trainer.max_epochs=1", "test=false")), tmp_path / "run")
    with lock(tmp_path / "run" / ".lock"):
        pass


def test_f9_a_run_goes_on_with_what_it_began_with(
    tiny: Overrides, tiny_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = ("trainer.max_epochs=1", "test=false")
    run, data = tmp_path / "run", Path(shutil.copytree(tiny_data, tmp_path / "a"))
    train(compose(tiny(*short, f"data.root={data}")), run)
    before = everything(run)
    moved = data.rename(tmp_path / "b")
    with caplog.at_level("INFO"):
        train(compose(tiny(*short, f"data.root={moved}")), run)
    assert "run is finished: " in caplog.text and "These are the scores of" not in caplog.text
    assert "best.ckpt" not in caplog.text
    best = run / "checkpoints" / "best.ckpt"
    whole = best.read_bytes()
    best.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])
    with caplog.at_level("INFO"):
        train(compose(tiny(*short, f"data.root={moved}", "search.max_length=3")), run)
    assert f"{best}: " in caplog.text and "What it scored is lost with it; resume=false" in caplog.text
    best.write_bytes(whole)
    assert "These are the scores of the search that it was trained with" in caplog.text
    table = (moved / "captions.jsonl").read_text()
    (moved / "captions.jsonl").write_text(table.replace("red", "scarlet"))
    with pytest.raises(FolderError, match=rf"\(data\.root: {data}, now {moved}; the captions have changed\)"):
        train(compose(tiny(*short, f"data.root={moved}")), run)
    (moved / "captions.jsonl").write_text(table.replace('"val"', '"test"', 2))
    with pytest.raises(FolderError, match="the captions have changed; the splits have changed"):
        train(compose(tiny(*short, f"data.root={moved}", "trainer.max_epochs=2")), run)
    (moved / "captions.jsonl").write_text(table)
    (moved / "0.png").write_bytes((moved / "1.png").read_bytes())
    with pytest.raises(FolderError, match="the photographs have changed"):
        train(compose(tiny(*short, f"data.root={moved}")), run)
    assert {name: text for name, text in everything(run).items() if name not in ("train.log", ".lock")} == {
        name: text for name, text in before.items() if name not in ("train.log", ".lock")
    }


def test_f9_a_text_likewise(tmp_path: Path) -> None:
    small = ["data.batch_size=4", "data.chunk=20", "decoder.hidden_size=8", "decoder.depth=1", "logger=csv"]
    small += ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "report=false", "scheduler=constant"]

    def run(text: str, name: str, epochs: int) -> None:
        (tmp_path / name).write_text(text)
        settings = [f"data.text={tmp_path / name}", f"trainer.max_epochs={epochs}", *small]
        train(compose(["experiment=char_rnn", *settings]), tmp_path / "run")

    run("ab" * 1500, "one.txt", 1)
    run("ab" * 1500, "moved.txt", 2)
    with pytest.raises(FolderError, match=r"data\.text: .*moved\.txt, now .*two\.txt; the characters of the text have"):
        run("ba" * 750 + "aab" * 500, "two.txt", 3)


def test_the_page_names_what_is_there() -> None:
    """Options and functions that the page names exist."""
    from captioning.jobs import caption as caption_job
    from captioning.jobs import cells, evaluate, sample, score

    options = set(re.findall(r"--[a-z-]+", PAGE.read_text("utf-8")))
    known = {
        option
        for job in (caption_job, evaluate, sample, cells, score)
        for action in job.parser()._actions
        for option in action.option_strings
    }
    assert options <= known
    for load in (Captioner.load, Writer.load):
        assert "trust" in inspect.signature(load).parameters
