"""``captioning train``: from data to a trained network and its scores, for any task."""

import logging
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf, flag_override
from pytorch_lightning.callbacks import Timer

from captioning.core.archives import verify_archive
from captioning.core.build import build
from captioning.core.device import find_device
from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write
from captioning.core.memory import keep_memory, largest
from captioning.core.signals import Deferral, Stopped, deferred
from captioning.core.terminal import nearby
from captioning.jobs.command_line import checked, hydra_errors
from captioning.jobs.config import conf_dir
from captioning.jobs.evaluate import signed, write_scores
from captioning.jobs.options import import_from_working_folder
from captioning.jobs.run_report import write_at_the_end
from captioning.report.pictures import draw_curves
from captioning.runs.checkpoint import SIGNATURE, Checkpoint, own_part, read_checkpoint
from captioning.runs.folder import FolderError, RunFolder, folder_name, rank
from captioning.runs.metrics_file import read_metrics
from captioning.runs.monitor import Monitor
from captioning.runs.ranges import check_ranges
from captioning.runs.resuming import check_resumable
from captioning.runs.settings import data_name, epochs_of
from captioning.runs.sweep_table import unfinished_jobs
from captioning.runs.trust import targets_of
from captioning.tasks import Task
from captioning.tasks.inputs import inputs_of_settings
from captioning.training.initial import begin_with, read_initial
from captioning.training.quiet import quiet
from captioning.training.trackers import tell_settings
from captioning.training.trainer import make_trainer

log = logging.getLogger(__name__)

# Registered here, not in `main`: a launcher may run jobs in other processes, which import this module and call `_job`.
OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the Hydra application; with ``-m``, run a sweep."""
    import_from_working_folder()  # decoder._target_=my_module.MyDecoder
    sys.argv = [sys.argv[0], *checked(sys.argv[2:] if argv is None else argv, str(conf_dir()))]
    application = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")(_job)
    try:
        with hydra_errors():
            application()
    except (Stopped, KeyboardInterrupt):
        if left := unfinished_jobs():
            print(f"captioning: {left}", file=sys.stderr)
        raise
    return 0


def _job(config: DictConfig) -> float | None:
    """Run one job; a failed job of a sweep reports the failure in its folder, and the other jobs continue."""
    hydra_config: Any = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    # Lightning starts the other ranks with this command (trainer.strategy=ddp), in this folder, also in a sweep.
    sys.argv = [sys.argv[0], "train", *hydra_config.overrides.task]
    with flag_override(hydra_config, "readonly", False):
        hydra_config.run.dir = str(folder)
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    settings = {str(key): value for key, value in plain.items()}
    record = {
        "config.yaml": OmegaConf.to_yaml(config),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra_config})),
        "overrides.yaml": OmegaConf.to_yaml(hydra_config.overrides.task),
    }
    sweeping = hydra_config.mode == RunMode.MULTIRUN
    try:
        if not str(config.name).strip("./ "):
            raise FolderError(
                f"name={config.name}: this names no folder of its own under {config.out}. Give it a name."
            )
        return train(settings, folder, record)
    except CaptioningError as error:
        if not sweeping:
            log.error("captioning: error: %s", error)
            sys.exit(1)
        fail(folder, error)
    except Exception as error:
        if not sweeping:
            raise
        fail(folder, error)
    return None


def fail(folder: Path, error: Exception) -> None:
    """Report the failure of a sweep's job, also in the job's folder, unless the folder is another run's."""
    log.error("%s failed: %s", folder.name, error)
    if not isinstance(error, FolderError):
        # A full disk must not stop the sweep from writing its table, which names this job in any case.
        with suppress(CaptioningError, OSError), atomic_write(RunFolder(folder).failure) as file:
            file.write(f"{error or type(error).__name__}\n\n{traceback.format_exc()}")


def train(config: dict[str, Any], folder: Path, record: Mapping[str, str] | None = None) -> float:
    """Train or resume training, and score the test split, if the data have one, with the best checkpoint.

    Args:
        config: the resolved configuration, see ``conf/train.yaml``.
        folder: the run's folder.
        record: Hydra's record of the command, by file name, for the folder.

    Returns:
        The best value of the monitored measurement on the validation split.

    Raises:
        FolderError: the folder holds another run, is in use, or is not this program's.
        CaptioningError: the data or the configuration have an error.
    """
    quiet()
    keep_memory()
    check_ranges(config)
    run = RunFolder(folder)
    with run.hold():
        run.compare_settings(config)
        run.keep_record(record or {})
        task = build(config["task"], Task, config=config)
        if config["word_vectors"] and not task.takes_word_vectors:
            vectors = config["word_vectors"]
            raise CaptioningError(
                f"word_vectors={vectors}: {type(task).__name__} takes no word vectors. Leave them out."
            )
        source = task.read_source()
        monitor = Monitor.among(task.measures, config["monitor"])
        initial = read_initial(config["init_from"], targets_of(config))
        inputs = {}
        if rank() == 0:
            inputs = {**task.inputs(source), **inputs_of_settings(config, initial.path if initial else None)}
        run.compare_inputs(config, inputs)
        if config["resume"] and run.finished and not run.goes_on(config):
            return say_finished(run, task, monitor, source)
        resume_from = run.begin(config)
        try:
            unresolved = plain((record or {}).get("config.yaml"))
            return _train(run, task, monitor, source, inputs, initial, resume_from, unresolved)
        except CaptioningError:
            run.release()
            raise


def _train(
    run: RunFolder,
    task: Task,
    monitor: Monitor,
    source: Any,
    inputs: Mapping[str, str],
    initial: Checkpoint | None,
    resume_from: Path | None,
    unresolved: Mapping[str, Any] | None,
) -> float:
    config = dict(task.config)
    pl.seed_everything(config["seed"], workers=True)
    trainer = make_trainer(config, run.folder, monitor)  # first: a wrong setting is told before features are stored
    prepared = task.prepare(source, run.folder, find_device(device_of(config)), initial)
    module = prepared.module
    module.own_part = own_part(config, prepared.contents, unresolved)
    if resume_from:
        check_resumable(resume_from, module, prepared.contents, epochs_of(config), targets_of(config))
    elif initial:
        begin_with(module, initial)
        log.info("%s begins with the weights of %s.", run.folder, initial.path)
    run.bind(config, inputs)
    if trainer.is_global_zero:
        tell_settings(trainer.loggers, config)
    parameters = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    log.info("%s: %s, %.1f M trained parameters.", nearby(run.folder), prepared.size, parameters / 1e6)
    if SIGNATURE in prepared.contents:
        log.info("%s: trained by %s", run.folder, prepared.contents[SIGNATURE])
    try:
        with deferred() as asked:
            _fit(trainer, module, prepared.data, resume_from, asked)
    except MisconfigurationException as error:
        raise CaptioningError(f"{type(module).__name__}: {' '.join(str(error).split())}") from error
    except Stopped as stopped:
        log.warning("%s: %s. %s", run.folder, stopped, _where_it_goes_on(run))
        if stopped.signal == signal.SIGINT:
            raise KeyboardInterrupt from stopped
        raise
    if trainer.is_global_zero:
        draw_curves(read_metrics(run.metrics), run.curves, task.measures)
        scores = score_test(run, task, source) if config["test"] else {}
        timer = next(callback for callback in trainer.callbacks if isinstance(callback, Timer))  # type: ignore[attr-defined]
        run.finish(config, monitor, scores, timer.time_elapsed("train"), parameters, largest())
        if config.get("report"):
            write_at_the_end(run.folder, source, getattr(task, "tokenizer", None))
        log.info("%s: %s", nearby(run.folder), run.summary(monitor))
    return run.best(monitor)


def _fit(trainer: pl.Trainer, module: Any, data: Any, resume_from: Path | None, asked: Deferral) -> None:
    """Train.

    Raises:
        Stopped: a signal has come, and a checkpoint was written where there was a place for it.
        CaptioningError: the limit of open files has been reached, or another process of the training has died.
    """
    try:
        trainer.fit(module, data, ckpt_path=resume_from, weights_only=True)
    except Exception as error:
        if asked.signal:  # what else a signal ends, such as worker processes, is no error of its own
            raise Stopped(asked.signal) from error
        if isinstance(error, EOFError) or "ancdata" in str(error):  # of a batch that a worker process hands over
            raise CaptioningError(
                "A worker process could not hand a batch over, which needs an open file: too few are allowed. Raise "
                "the limit (ulimit -n), or take data.workers=0."
            ) from error
        if trainer.world_size > 1 and _is_of_a_lost_process(error):
            raise CaptioningError(
                "Another process of this training has died or can't be reached, and its own log says why: "
                f"{str(error).partition(chr(10))[0]}. The same command goes on from the last checkpoint."
            ) from error
        raise
    if asked.signal:
        raise Stopped(asked.signal)


def _is_of_a_lost_process(error: BaseException) -> bool:
    """Whether an exception says that a process of the same training can't be reached: Gloo's have no class."""
    return isinstance(error, RuntimeError) and (type(error).__name__.startswith("Dist") or "gloo" in str(error))


def _where_it_goes_on(run: RunFolder) -> str:
    """The sentence on what is left of a run that was stopped."""
    if not run.last.exists():
        return "There was no checkpoint yet: the same command begins anew."
    age = time.time() - run.last.stat().st_mtime
    return f"The same command goes on from {run.last} (written {max(0, age):.0f} seconds ago)."


def say_finished(run: RunFolder, task: Task, monitor: Monitor, source: Any) -> float:
    """Report the result of a finished run; the test split is scored here if it has not been scored before."""
    if rank() == 0:
        run.failure.unlink(missing_ok=True)
        if task.config["test"] and not run.tested:
            trained = build(task.config["task"], Task, config={**task.config, "search": run.search})
            run.add_scores(score_test(run, trained, source))
    log.info("%s is finished: %s", nearby(run.folder), run.summary(monitor))
    if rank() == 0:
        try:
            verify_archive(run.best_file)
        except CaptioningError as error:
            log.warning("%s What it scored is lost with it; resume=false trains again.", error)
    if run.search != task.config["search"]:
        log.info(
            "These are the scores of the search that it was trained with, not of the one that is now set: "
            "`captioning evaluate %s` scores it with another (--beam, --length-penalty, …).",
            run.folder,
        )
    return run.best(monitor)


def device_of(config: Mapping[str, Any]) -> str:
    """The device of encoder and search beside training."""
    return "cpu" if config["trainer"]["accelerator"] == "cpu" else "auto"


def score_test(run: RunFolder, task: Task, source: Any) -> dict[str, float]:
    """The scores of the test split with the best checkpoint; empty without a test split."""
    if "test" not in task.splits or not task.has(source, "test"):
        return {}
    config = task.config
    trust = targets_of(config)
    found = task.evaluate(run.folder, "test", out=run.folder, device=device_of(config), source=source, trust=trust)
    found = replace(signed(found, read_checkpoint(run.folder, trust).signature), split="test")
    found = replace(found, details={"data": data_name(config), **found.details})
    write_scores(run.folder, found)
    for line in found.lines:
        log.info("%s", line)
    return found.scores


def plain(text: str | None) -> dict[str, Any] | None:
    """A configuration as composed, with interpolations; None if unknown."""
    if text is None:
        return None
    unresolved: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    return {str(key): value for key, value in unresolved.items()}
