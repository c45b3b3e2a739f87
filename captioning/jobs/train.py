"""``captioning train``: from captioned photographs to a trained captioner and its scores."""

import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import hydra.utils
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from pytorch_lightning.callbacks import Timer

from captioning.analysis.report import draw_curves
from captioning.core.build import build
from captioning.core.device import find_device
from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write
from captioning.data import CaptionedPhotos
from captioning.data.captions import build_vocabulary
from captioning.data.module import CaptionData
from captioning.jobs.config import conf_dir
from captioning.jobs.evaluate import evaluate
from captioning.metrics import NAMES
from captioning.training import assembly
from captioning.training.callbacks import callbacks
from captioning.training.checkpoint import AtomicCheckpointIO, check_resumable, describe
from captioning.training.loggers import read_metrics
from captioning.training.module import CaptioningModule
from captioning.training.objectives import CrossEntropy
from captioning.training.quiet import quiet
from captioning.training.runs import RunFolder, folder_name
from captioning.training.scoring import Scorer

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the Hydra application; with ``-m`` a sweep."""
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
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
    """Train, or go on with training, and score the test split with the best checkpoint.

    Args:
        config: resolved, see ``conf/train.yaml``.
        folder: of the run.

    Returns:
        The best value of the monitored score on the validation split.

    Raises:
        CaptioningError: the folder holds another run, or something in the data or the configuration is wrong.
    """
    quiet()
    if config["monitor"] not in NAMES:
        raise CaptioningError(f"monitor={config['monitor']}: there is no such score. There are {', '.join(NAMES)}.")
    device = "cpu" if config["trainer"]["accelerator"] == "cpu" else "auto"
    run = RunFolder(folder)
    resume_from = run.begin(config)
    if run.finished:
        log.info("%s is finished: %s", folder, run.summary())
        return run.best(config["monitor"])
    pl.seed_everything(config["seed"], workers=True)
    photos = assembly.read_photos(config)
    module, data = make_module(config, photos, find_device(device))
    if resume_from:
        check_resumable(resume_from, module, module.vocabulary)
    parameters = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    log.info(
        "%s: %d photographs, %d words, %.1f M trained parameters.",
        folder,
        len(photos["train"]),
        len(module.vocabulary),
        parameters / 1e6,
    )
    trainer = make_trainer(config, folder)
    trainer.fit(module, data, ckpt_path=resume_from, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if trainer.is_global_zero:
        draw_curves(read_metrics(run.metrics), run.curves)
        scores: dict[str, float] = {}
        if config["test"] and photos.splits.get("test"):
            found = evaluate(run.folder, "test", photos=photos, out=run.folder, device=device)
            scores = found.scores
            if found.pointing:
                log.info("%s", found.pointing)
        timer = next(callback for callback in trainer.callbacks if isinstance(callback, Timer))  # type: ignore[attr-defined]
        run.finish(config, scores, timer.time_elapsed("train"), parameters)
        log.info("%s: %s", folder, run.summary())
    return run.best(config["monitor"])


def make_module(
    config: dict[str, Any], photos: CaptionedPhotos, device: torch.device
) -> tuple[CaptioningModule, CaptionData]:
    """The captioner to train, untrained, and its data; a frozen encoder's features are stored here."""
    vocabulary = build_vocabulary(photos["train"], config["data"]["minimum_count"])
    encoder = assembly.make_encoder(config)
    decoder = assembly.make_decoder(config, vocabulary, encoder.spec)
    if config["word_vectors"]:
        found = decoder.load_vectors(config["word_vectors"], vocabulary.words)
        log.info("%s: vectors of %d of the %d words.", config["word_vectors"], found, len(vocabulary))
    module = CaptioningModule(
        encoder,
        decoder,
        vocabulary,
        assembly.make_search(config),
        build(config["objective"], CrossEntropy),
        optimizer=hydra.utils.instantiate(config["optimizer"]),
        schedule=hydra.utils.instantiate(config["scheduler"]),
        sampling=hydra.utils.instantiate(config["sampling"]),
        encoder_lr=config["encoder_lr"],
        score=Scorer([photo.captions for photo in photos["val"]]),
        checkpoint=describe(config, vocabulary),
        seed=config["seed"],
    )
    return module, assembly.make_data(config, photos, vocabulary, encoder, decoder.reads, device)


def make_trainer(config: dict[str, Any], folder: Path) -> pl.Trainer:
    """Lightning's trainer, with this run's callbacks and logs."""
    trainer: pl.Trainer = hydra.utils.instantiate(
        config["trainer"],
        default_root_dir=folder,
        callbacks=callbacks(
            folder,
            config["monitor"],
            config["patience"],
            config["checkpoint_minutes"],
            config["trainer"]["enable_progress_bar"],
            config["ema_decay"],
        ),
        logger=[hydra.utils.instantiate(logger, save_dir=folder) for logger in config["logger"].values()],
        plugins=[AtomicCheckpointIO()],
    )
    return trainer
