"""Suppression of library messages that a user can't act on."""

import logging
import warnings

ADVERTISING = ("pytorch_lightning", "lightning_fabric")


def quiet() -> None:
    """Drop the advertisements, tips and self-reports of underlying libraries; errors and real warnings stay."""
    for name in ADVERTISING:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "The '.*' does not have many workers",
        "The .*dataloader.* does not have many workers",
        "You're resuming from a checkpoint that ended before the epoch ended",
        "Checkpoint directory .* exists and is not empty",
        "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",  # patience=null is allowed
        "The number of training batches .* is smaller than the logging interval",
        "Found .* module\\(s\\) in eval mode at the start of training",  # a frozen encoder
        "torch.distributed.nn.functional.all_gather is deprecated",  # Lightning's own use of it
        "It is recommended to use .*sync_dist=True",  # scores are gathered before they are logged
        "Trying to infer the `batch_size`",
        ".*treespec.*LeafSpec.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
    ):
        warnings.filterwarnings("ignore", message=message)
