"""``captioning train``: from photographs to a captioner and its scores, or from a text to a language model."""

import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from pytorch_lightning.callbacks import Timer

from captioning.analysis.report import draw_curves
from captioning.core.device import find_device
from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write
from captioning.core.memory import keep_memory
from captioning.data import CaptionedPhotos
from captioning.jobs.config import conf_dir
from captioning.jobs.evaluate import evaluate
from captioning.training.checkpoint import check_resumable
from captioning.training.loggers import read_metrics
from captioning.training.monitor import Monitor
from captioning.training.quiet import quiet
from captioning.training.runs import RunFolder, folder_name
from captioning.training.tasks import make_task, read_source
from captioning.training.trainer import make_trainer

log = logging.getLogger(__name__)

# here, not in `main`: a launcher may run jobs in processes of their own, which import this module and call `_job`
OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the Hydra application; with ``-m`` a sweep."""
    sys.argv = [sys.argv[0], *(sys.argv[2:] if argv is None else argv)]
    application = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")(_job)
    application()
    return 0


def _job(config: DictConfig) -> float | None:
    """One run; in a sweep, one that fails says so in its folder and lets the others go on."""
    hydra_config: Any = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    # Lightning starts the other ranks by this command (trainer.strategy=ddp), in this folder, also in a sweep
    sys.argv = [sys.argv[0], "train", *hydra_config.overrides.task]
    with flag_override(hydra_config, "readonly", False):
        hydra_config.run.dir = str(folder)
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    settings = {str(key): value for key, value in plain.items()}
    if hydra_config.mode != RunMode.MULTIRUN:
        try:
            return train(settings, folder)
        except CaptioningError as error:
            log.error("captioning: error: %s", error)
            sys.exit(1)
    run = RunFolder(folder)
    run.failure.unlink(missing_ok=True)
    try:
        return train(settings, folder)
    except Exception as error:
        log.error("%s failed: %s", folder.name, error)
        with atomic_write(run.failure) as file:
            file.write(f"{error or type(error).__name__}\n\n{traceback.format_exc()}")
        return None


def train(config: dict[str, Any], folder: Path) -> float:
    """Train, or go on with training, and score the test split with the best checkpoint where there is one.

    Args:
        config: resolved, see ``conf/train.yaml``.
        folder: of the run.

    Returns:
        The best value of the monitored measurement on the validation split.

    Raises:
        CaptioningError: the folder holds another run, or something in the data or the configuration is wrong.
    """
    quiet()
    keep_memory()
    device = "cpu" if config["trainer"]["accelerator"] == "cpu" else "auto"
    run, monitor = RunFolder(folder), Monitor(config["monitor"])
    resume_from = run.begin(config)
    if run.finished:
        log.info("%s is finished: %s", folder, run.summary())
        return run.best(monitor)
    pl.seed_everything(config["seed"], workers=True)
    source = read_source(config)
    task = make_task(config, source, folder, find_device(device))
    if resume_from:
        check_resumable(resume_from, task.module, task.vocabulary)
    parameters = sum(parameter.numel() for parameter in task.module.parameters() if parameter.requires_grad)
    log.info("%s: %s, %.1f M trained parameters.", folder, task.size, parameters / 1e6)
    trainer = make_trainer(config, folder)
    trainer.fit(task.module, task.data, ckpt_path=resume_from, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if trainer.is_global_zero:
        draw_curves(read_metrics(run.metrics), run.curves)
        scores = score_test(run, source, device) if config["test"] and isinstance(source, CaptionedPhotos) else {}
        timer = next(callback for callback in trainer.callbacks if isinstance(callback, Timer))  # type: ignore[attr-defined]
        run.finish(config, scores, timer.time_elapsed("train"), parameters)
        log.info("%s: %s", folder, run.summary())
    return run.best(monitor)


def score_test(run: RunFolder, photos: CaptionedPhotos, device: str) -> dict[str, float]:
    """The scores of the test split with the best checkpoint; none where there is no test split."""
    if not photos.splits.get("test"):
        return {}
    found = evaluate(run.folder, "test", photos=photos, out=run.folder, device=device)
    if found.pointing:
        log.info("%s", found.pointing)
    return found.scores
