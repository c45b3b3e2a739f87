"""Loggers of experiment trackers, beside the one that Lightning has for Weights & Biases (``logger=wandb``)."""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from captioning.runs.metrics_file import CSVLogger

OWN = (CSVLogger, TensorBoardLogger)  # a run's folder has its settings already


class MLFlow(MLFlowLogger):
    """Lightning's logger of MLflow, by default into a database in the run's folder."""

    def __init__(self, save_dir: str | Path, tracking_uri: str | None = None, **settings: Any) -> None:
        """Take the run's folder, and the arguments of ``MLFlowLogger``."""
        place = Path(save_dir).absolute()
        super().__init__(tracking_uri=tracking_uri or f"sqlite:///{place / 'mlflow.db'}", **settings)


class Trackio(Logger):
    """The logger of trackio (https://github.com/gradio-app/trackio), which keeps runs on this machine."""

    def __init__(self, save_dir: str | Path, project: str = "captioning", name: str | None = None) -> None:
        """Take the project's and the run's name; the run's folder is not used, since trackio has one of its own."""
        super().__init__()
        self.project, self.run = project, name
        self.config: dict[str, Any] = {}
        self.trackio: Any = import_module("trackio")
        self.begun: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self.project

    @property
    def version(self) -> str | None:
        """The run's name."""
        return self.run

    @property
    def experiment(self) -> Any:
        """The run, which begins when something is logged."""
        if self.begun is None:
            self.begun = self.trackio.init(project=self.project, name=self.run, config=self.config, resume="allow")
        return self.begun

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Keep the settings for the run's beginning."""
        self.config = dict(params if isinstance(params, Mapping) else vars(params))

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log measurements."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run."""
        if self.begun is not None:
            self.begun.finish()
            self.begun = None


def tell_settings(loggers: Iterable[Logger], config: Mapping[str, Any]) -> None:
    """Tell the trackers a run's settings, by dotted names."""
    for logger in loggers:
        if not isinstance(logger, OWN):
            logger.log_hyperparams(dict(_flat(config)))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, Mapping) and value else [(name, value)]
    return found
