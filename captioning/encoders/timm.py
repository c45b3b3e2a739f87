"""Any model of timm: https://github.com/huggingface/pytorch-image-models."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.encoders.encoder import Encoder, Fit
from captioning.encoders.quietly import timm
from captioning.encoders.weights import load, read_state


class Timm(Encoder):
    """A timm model without its classifier: ``grid`` is its last map (or patches), ``pooled`` the classifier's input.

    Means and standard deviations are those of the model's pretraining.
    """

    def __init__(
        self,
        name: str,
        weights: bool | str | None = True,
        image_size: int | Sequence[int] | None = None,
        fit: Fit = "squash",
        finetune_from: str | None = None,
    ) -> None:
        """Build the network.

        Args:
            name: timm's name of the model, with or without the tag of its weights.
            weights: True for timm's pretrained weights (downloaded on first use), the path of a state dict in timm's
                names, or None (or False) for random weights.
            image_size: (height, width) in pixels, or the side of a square; None for the size of the pretraining.
            fit: how images of another shape are resized to ``image_size``.
            finetune_from: the first of the model's parts to train (the error for an unknown name lists them); None
                freezes all.

        Raises:
            CaptioningError: an unknown model or stage; the weights can't be downloaded or read, or are not this
                network's; a model without a map of regions.
        """
        backbone: Any = _create(name, weights is True, image_size)
        config: dict[str, Any] = backbone.pretrained_cfg
        if isinstance(weights, str):
            head = config.get("classifier") or ()
            cut = (head,) if isinstance(head, str) else tuple(head)
            load(backbone, read_state(weights), weights, cut=tuple(f"{part}." for part in cut))
        super().__init__(
            backbone,
            identity={"name": name},
            stages=_stages(backbone),
            finetune_from=finetune_from,
            image_size=image_size or config["input_size"][1:],
            fit=fit,
            mean=config["mean"],
            std=config["std"],
        )

    def encode(self, images: Tensor) -> Features:
        """See ``Encoder.encode``."""
        output: Tensor = self.backbone.forward_features(images)
        pooled: Tensor = self.backbone.forward_head(output, pre_logits=True).flatten(1)  # (B, P)
        return Features(pooled=pooled, grid=self._map(output))

    def _map(self, output: Tensor) -> Tensor:
        """The output of ``forward_features`` as a map ``(B, D, rows, columns)``."""
        channels = self.backbone.num_features
        if output.ndim == 3:  # (B, class token and others, then patches; D)
            patches = output[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
            embed = getattr(self.backbone, "patch_embed", None)
            if embed is not None and patches.shape[1] == embed.grid_size[0] * embed.grid_size[1]:
                return patches.transpose(1, 2).reshape(len(output), -1, *embed.grid_size)
        elif output.ndim == 4 and output.shape[1] == channels:
            return output
        elif output.ndim == 4 and output.shape[3] == channels:
            return output.permute(0, 3, 1, 2)
        raise CaptioningError(
            f"encoder.name={self.identity['name']}: the model's features {tuple(output.shape)} are not a map of "
            "regions. Choose a convolutional model or a vision transformer of timm."
        )


def _create(name: str, pretrained: bool, image_size: int | Sequence[int] | None) -> nn.Module:
    """The model of timm without its classifier."""
    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('.')[0]}*")[:5] or timm.list_models(f"{name[:4]}*")[:5]
        raise CaptioningError(
            f"encoder.name={name} is not a model of this timm ({timm.__version__})"
            f"{'; some that are: ' * bool(close)}{', '.join(close)}. See timm.list_models()."
        )
    options: dict[str, Any] = {}
    config = timm.get_pretrained_cfg(name)
    if image_size is not None and config is not None and config.fixed_input_size:
        options["img_size"] = image_size if isinstance(image_size, int) else tuple(image_size)
    try:
        network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except Exception as error:  # any error of the hub and its client
        if not pretrained:
            raise
        raise CaptioningError(
            f"timm's weights of {name} can't be had ({error}). Check the network and timm.list_pretrained(), or give a "
            "file of your own: encoder.weights=path."
        ) from error
    return network


def _stages(network: nn.Module) -> dict[str, list[nn.Module]]:
    """The model's parts in their order, those of a sequence one by one ("conv_stem", "blocks.0", …)."""
    stages: dict[str, list[nn.Module]] = {}
    for name, module in network.named_children():
        if isinstance(module, nn.Sequential | nn.ModuleList):
            stages |= {f"{name}.{number}": [part] for number, part in module.named_children()}
        else:
            stages[name] = [module]
    return {name: parts for name, parts in stages.items() if any(True for _ in parts[0].parameters())}
