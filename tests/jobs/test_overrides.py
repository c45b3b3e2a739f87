"""Every mistake in a command line is one line with its remedy, and nothing is written for it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from captioning.__main__ import main
from captioning.core.errors import UsageError
from captioning.jobs.command_line import checked
from captioning.jobs.config import conf_dir
from captioning.jobs.overrides import Composer
from captioning.jobs.values import takes

InChild = Callable[..., "subprocess.CompletedProcess[str]"]
WRONG = [
    # groups
    ("decoder=foo", "there is no 'foo' in the group decoder. Choose one of adaptive, attend_states, "),
    ("decoder=lrnc", "Did you mean decoder=lrcn?"),
    ("experiment=flickr", "Did you mean experiment=flickr8k?"),
    ("decodr=lrcn", "there is no group and no setting 'decodr'. Did you mean decoder=lrcn?"),
    ("decoder=", "there is no '' in the group decoder."),
    ("+decoder=lrcn", "a group is chosen without the +: decoder=lrcn."),
    ("++decoder=lrcn", "a group is chosen without the +: decoder=lrcn."),
    ("~decoder", "every run has its decoder. Choose another one: decoder=…"),
    ("hydra/launcher=foo", "Choose one of basic, cluster"),
    ("hydra/launchr=basic", "Did you mean hydra/launcher=basic?"),
    ("decoder@x=lrcn", "Could not override 'decoder@x'."),
    ("cell=lstm,gru", "several values are a sweep, which takes -m"),
    ("seed=range(1,3)", "several values are a sweep, which takes -m"),
    # names
    ("optimizer.lrr=1", "optimizer has no setting 'lrr'. Did you mean optimizer.lr=1?"),
    ("optimzer.lr=1", "there is no group 'optimzer'. Did you mean optimizer.lr=1?"),
    ("optimizer.weight_decay=0.1", "torch.optim.Adam takes it. Add it by +optimizer.weight_decay=0.1."),
    ("optimizer.weight_deca=0.1", "Did you mean +optimizer.weight_decay=0.1?"),
    (
        "+trainer.max_epoch=3",
        "pytorch_lightning.Trainer takes no setting 'max_epoch'. Did you mean trainer.max_epochs?",
    ),
    ("+trainer.max_epochs=3", "there is a setting trainer.max_epochs already. Leave the + out: trainer.max_epochs=3."),
    ("max_epochs=3", "Did you mean trainer.max_epochs=3?"),
    ("nonsense=1", "there is no group and no setting 'nonsense'. `captioning train --help` lists the groups."),
    ("trainer.foo.bar=3", "trainer has no setting 'foo'. It has accelerator, devices"),
    ("'optimizer={lrr: 1}'", "optimizer has no setting 'lrr'. Did you mean optimizer.lr?"),
    ("decoder._target_=no.such decoder.xyz=3", "(A class of your own is given one more by +decoder.xyz=3.)"),
    ("hydra.sweep.dirr=x", "Did you mean hydra.sweep.dir=x?"),
    ("seed.x=3", "seed is a single setting (seed=1) and has none below it."),
    ("+seed.x=3", "seed is a single setting (seed=1) and has none below it."),
    ("~sed", "Did you mean seed?"),
    ("~seed", "every run reads seed, which can't be left out."),
    ("~data.batch_size", "every run reads data.batch_size, which can't be left out."),
    # values
    ("trainer.max_epochs=abc", "trainer.max_epochs=abc: a whole number or null is wanted, such as 20."),
    ("seed=x", "seed=x: a number is wanted, such as 1."),
    ("decoder.hidden_size=", "decoder.hidden_size=: a whole number is wanted, such as 512."),
    ("decoder.hidden_size=7.5", "a whole number is wanted, such as 512."),
    ("decoder.hidden_size=null", "a whole number is wanted, such as 512."),
    ("optimizer.lr=fast", "a number is wanted, such as 0.0005."),
    ("'optimizer={lr: fast}'", "a number is wanted, such as 0.0005."),
    ("encoder.image_size=big", "a whole number or a list or null is wanted, such as 224."),
    ("trainer.limit_train_batches=half", "a number or null is wanted."),
    ("trainer.precision=bf16-mixd", "Did you mean trainer.precision=bf16-mixed?"),
    ("objective.per=wrod", "Did you mean objective.per=word?"),
    ("test=no", "test does not take 'no'. Did you mean test=false?"),
    ("test=maybe", "true or false is wanted."),
    ("seed=true", "a number is wanted, such as 1."),
    ("data.source=x", "data.source is a group of settings, which are set one by one: data.source.root"),
    ("'++hydra.sweeper.params={seed: 1}'", "Check the setting."),
    ("hydra.job.chdir=foo", "Value 'foo' is not a valid bool (type str). Check the setting."),
    ("'decoder.hidden_size=${nope}'", "decoder.hidden_size: Interpolation key 'nope' not found."),
    ("'decoder.hidden_size=${nope:3}'", "Unsupported interpolation type nope."),
    ("'hydra.run.dir=${nope}'", "Interpolation key 'nope' not found."),
    ("encoder=timm", "encoder.name has no value: add encoder.name=…."),
    # form
    ("trainer.max_epochs", "a setting has the form trainer.max_epochs=20; the = is missing."),
    ("data.splits={train:", "the bracket { is not closed."),
    ("data.splits=[a,b}", "nothing opens what } closes."),
    ('"name=\'x"', "the quote ' is not closed."),
    ("sweep=a=b", "Text with = , : ( ) or quotes is quoted twice: 'sweep=\"a=b\"'."),
    ("=x", "the name of a setting is missing before the ="),
    ("hydra.searchpath=[file:///nope]", "hydra.searchpath: there is no folder /nope."),
    # options
    ("-cn foo", "--config-name foo: there is no such file in"),
    ("-cn trian", "Did you mean train?"),
    ("--config-dir=/nope", "/nope: there is no such folder of configuration files. Check --config-dir."),
    ("--config-path=/nope", "/nope: there is no such folder of configuration files. Check --config-path."),
    ("--cgf job", "there is no such option. Did you mean --cfg?"),
    ("--cfg foo", "invalid choice: 'foo'"),
    ("--cfg job optimizer.lrr=1", "Did you mean optimizer.lr=1?"),
    ("--help decoder=foo", "there is no 'foo' in the group decoder."),
    ("--resolve", "--resolve has an effect with --cfg job alone."),
    ("-m --cfg job", "--multirun and --cfg exclude each other."),
    ("--experimental-rerun nope", "--experimental-rerun nope: there is no such file."),
    # sweeps
    ("-m decoder=lrcn,foo", "decoder=foo: there is no 'foo' in the group decoder."),
    ("-m seed=1,2,x", "seed=x: a number is wanted, such as 1."),
    ("-m trainer.max_epochs=abc cell=lstm,gru", "a whole number or null is wanted, such as 20."),
    ("-m decoder=lrcn,neuraltalk decoder.factored=true", "decoder has no setting 'factored'."),
    ("-m decodr=lrcn,mrnn", "Did you mean decoder=lrcn?"),
    ("-m seed=1,2 data.splits={train:", "the bracket { is not closed."),
    ("-m hydra.job.name=a,b", "Hydra's own settings can't be swept."),
    ("hydra.mode=MULTIRUN seed=1,x", "seed=x: a number is wanted, such as 1."),
]


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return tmp_path


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_a_mistake_is_one_line(line: str, said: str, somewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *shlex.split(line)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("captioning: error: ") and output.err.count("\n") == 1
    assert said in output.err
    assert list(somewhere.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "patience=null",
        "patience=2.5",
        "monitor=loss",
        "test=0",
        "compile=TRUE",
        "seed=1_000",
        "ema_decay=0.99",
        "word_vectors=vectors.txt",
        "encoder.image_size=[224,320]",
        "encoder.weights=null",
        "encoder=timm encoder.name=resnet18 encoder.weights=file.pth",
        "encoder=none",
        "trainer.devices=auto",
        "trainer.devices=2",
        "trainer.devices=[0,1]",
        "trainer.limit_train_batches=null",
        "trainer.limit_train_batches=0.5",
        "trainer.precision=16",
        "trainer.gradient_clip_val=null",
        "~trainer.precision",
        "+trainer.benchmark=true",
        *(f"optimizer.lr={rate}" for rate in ("1e-3", "1.e-3", "1E-3", ".001", "1", "+1e-3")),
        "+optimizer.betas=[0.9,0.99]",
        "optimizer.fused=null",
        "'optimizer={lr: 1e-3}'",
        "'decoder.hidden_size=${decoder.embedding_size}'",
        "data=coco data.holdout.val=0.1 data.splits.train=null",
        "data=coco ~data.prepare",
        "data=coco data.prepare=null",
        "decoder._target_=my_module.MyDecoder +decoder.width=3",
        "decoder=base decoder._target_=my_module.MyDecoder ++decoder.width=3",
        "decoder._target_=my_module.MyDecoder decoder.hidden_size=[3,4]",
        "++nonsense=1",
        "hydra.verbose=true",
        "hydra/launcher=basic",
        "search=sample search.seed=3",
        "-m seed=range(1,500)",
        "-m optimizer.lr=interval(0,1)",
        "-m search=glob(beam*) seed=1,2",
        "-m encoder=timm encoder.name=resnet18,resnet34",
        "-m experiment=char_rnn_table",
        "seed=2 --cfg job decoder=lrcn",
    ],
)
def test_what_is_right_stays_right(line: str, somewhere: Path) -> None:
    arguments = shlex.split(line)
    assert sorted(checked(arguments, str(conf_dir()))) == sorted(arguments)
    assert list(somewhere.iterdir()) == []


def test_options_come_first() -> None:
    assert checked(["seed=2", "--cfg", "job", "decoder=lrcn"], str(conf_dir())) == [
        "--cfg",
        "job",
        "seed=2",
        "decoder=lrcn",
    ]


def test_a_module_of_the_user_s_own_says_what_it_takes(somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (somewhere / "mine_with_types.py").write_text(
        "class Base:\n    def __init__(self, depth: int = 1): ...\n"
        "class Mine(Base):\n    def __init__(self, width: int, kind: 'Unknown' = None, **more): ...\n"
    )
    monkeypatch.syspath_prepend(str(somewhere))
    own = ["decoder._target_=mine_with_types.Mine"]
    composer = Composer(str(conf_dir()))
    composer.compose([*own, "+decoder.width=3", "+decoder.kind=anything", "decoder.depth=2"])
    for wrong, said in [("+decoder.widht=3", "Did you mean decoder.width"), ("decoder.width=3", r"\+decoder\.width=3")]:
        with pytest.raises(UsageError, match=said):
            composer.compose([*own, wrong])
    assert takes("mine_with_types.Nothing").open


def test_the_composition_is_hydra_s() -> None:
    lines = ["data=own", "data.root=x", "decoder=lrcn", "+optimizer.eps=1e-7", "~trainer.precision", "seed=3"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        expected = hydra_compose("train", lines)
    found = Composer(str(conf_dir())).compose(lines)
    assert found.hydra.runtime.choices.decoder == "lrcn"
    del found._content["hydra"]  # type: ignore[union-attr]
    assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)


def test_a_folder_of_one_s_own(somewhere: Path) -> None:
    (somewhere / "mine" / "decoder").mkdir(parents=True)
    (somewhere / "mine" / "decoder" / "wide.yaml").write_text("defaults: [lrcn]\nhidden_size: 3\n")
    composer = Composer(str(conf_dir()), extra="mine")
    assert composer.compose(["decoder=wide"]).decoder.hidden_size == 3
    with pytest.raises(UsageError, match="Did you mean decoder=wide"):
        composer.compose(["decoder=wid"])


@pytest.mark.parametrize(
    "line", ["out=file", "name=file out=.", "-m out=file seed=1,2", "sweep=file out=. -m seed=1,2"]
)
def test_a_file_in_the_place_of_the_folder(line: str, somewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (somewhere / "file").touch()
    assert main(["train", *line.split()]) == 1
    assert "file: this is a file, and " in capsys.readouterr().err
    assert [path.name for path in somewhere.iterdir()] == ["file"]


@pytest.mark.parametrize("line", ["name=null", "name=../other", "-m seed=1,2 sweep=null", "-m seed=1,2 sweep=../other"])
def test_a_name_of_no_folder_of_its_own(line: str, somewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *line.split()]) in (1, 2)
    assert "this names no folder under runs. Choose a name." in capsys.readouterr().err
    assert [*somewhere.iterdir()] == []


def test_a_folder_without_permission(
    somewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever runs the tests may be allowed everything
    assert main(["train", "out=there"]) == 1
    assert "no permission to write there/" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a file system that refuses what permissions allow")
def test_a_folder_that_permissions_allow_and_the_file_system_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "out=/proc/there"]) == 1
    assert "can't be made there" in (said := capsys.readouterr().err) and "Traceback" not in said


@pytest.mark.parametrize("command", ["prepare", "train"])
@pytest.mark.parametrize(
    ("line", "said"), [("data=scnes", "Did you mean data=scenes?"), ("data.cuont=3", "data.count=3")]
)
def test_other_commands_say_the_same(
    command: str, line: str, said: str, somewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, line]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    ["trainer.max_epochs=abc", "-m decodr=lrcn,mrnn", "hydra.sweeper.max_batch_size=0 -m seed=1,2 hydra/launcher=x"],
)
def test_in_a_process_of_its_own(line: str, tmp_path: Path, in_child: InChild) -> None:
    done = in_child(["train", *line.split()], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("captioning: error: ") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_hydra_finds_while_it_runs_is_a_line(tmp_path: Path, in_child: InChild) -> None:
    line = ["-m", "experiment=char_rnn_table", "++hydra.sweeper.params={decodr:'lrcn,mrnn'}"]
    done = in_child(["train", *line], cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "decodr" in done.stderr
    assert "Traceback" not in done.stderr and "HYDRA_FULL_ERROR" not in done.stderr


def test_help_is_one_screen(tmp_path: Path, in_child: InChild) -> None:
    done = in_child(["train", "--help"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) <= 40
    for said in ("captioning train -m cell=rnn,lstm,gru", "decoder: ", "debug: one_batch, overfit, profiler"):
        assert said in done.stdout
