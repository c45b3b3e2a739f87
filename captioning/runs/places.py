"""The places of a run's checkpoints."""

from pathlib import Path

from captioning.core.errors import CaptioningError

BEST, LAST = "best.ckpt", "last.ckpt"
WEIGHTS = "model.safetensors"  # of a published captioner


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint of a path: a file, the best checkpoint of a run's folder, or a published captioner's weights.

    Of a run that has not been validated yet, the last checkpoint is the best one.

    Raises:
        CaptioningError: the path has no checkpoint, or the best checkpoint of a validated run is missing.
    """
    path = Path(path)
    if path.is_dir():
        for folder in (path / "checkpoints", path):
            best, last = folder / BEST, folder / LAST
            if best.exists():
                return best
            if last.exists():
                if is_validated(run_of(last)):
                    raise CaptioningError(
                        f"{best}: this file is missing, the best checkpoint of the run. Bring it back; to take the "
                        f"last one instead, name {last}."
                    )
                return last
        if (path / WEIGHTS).exists():
            return path / WEIGHTS
        raise CaptioningError(f"{path}: there is no checkpoint in this folder. Name a run's folder or a .ckpt file.")
    if not path.exists():
        raise CaptioningError(f"{path}: there is no such checkpoint. Name a run's folder or a .ckpt file.")
    return path


def run_of(checkpoint: Path) -> Path:
    """The folder of a checkpoint's run; of a file by itself the file's folder."""
    return checkpoint.parents[1] if checkpoint.parent.name == "checkpoints" else checkpoint.parent


def is_validated(run: Path) -> bool:
    """True if a run's records say that the run has been validated, so that there was a best checkpoint."""
    if (run / "summary.json").exists():
        return True
    try:
        with (run / "metrics.csv").open("rb") as file:
            return b"val/" in file.readline(1 << 16)
    except OSError:
        return False
