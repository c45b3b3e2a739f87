"""One captioner with the mean of the weights of several (Wortsman et al. 2022, arXiv 2203.05482, "uniform soup").

The mean makes sense of networks that have the beginning of their training in common, such as checkpoints of one run, or
runs with one ``init_from``. It costs the time and the memory of one captioner, where an ensemble costs those of all.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import Vocabulary

GROUPS = ("decoder", "cell", "encoder")
APART = ("weights", "finetune_from")  # settings of training; the values of dropout may differ, too


def average_weights(
    networks: Sequence[Mapping[str, nn.Module]],
    vocabularies: Sequence[Vocabulary],
    configs: Sequence[Mapping[str, Any]],
    names: Sequence[str],
) -> dict[str, nn.Module]:
    """The mean of the weights of networks of one architecture and one vocabulary.

    Args:
        networks: the modules of each network by name; they stay as they are.
        vocabularies: the vocabulary of each network.
        configs: the configuration of each network.
        names: the networks' names, for errors.

    Returns:
        Copies of the first network's modules with the mean weights; counters and other whole numbers are the first's.

    Raises:
        CaptioningError: networks differ in their words or their order, in a setting, or in the shape of a weight.
    """
    for vocabulary, config, network, name in zip(vocabularies, configs, networks, names, strict=True):
        if vocabulary.words != vocabularies[0].words:
            raise _unlike(name, names[0], "its vocabulary has other words, or another order of them")
        if odd := _differences(configs[0], config):
            raise _unlike(name, names[0], f"its settings differ ({', '.join(odd[:3])})")
        for part, module in network.items():
            if _shapes(module) != _shapes(networks[0][part]):
                raise _unlike(name, names[0], f"the weights of its {part} have other shapes")
    averaged = {part: deepcopy(module) for part, module in networks[0].items()}
    for part, module in averaged.items():
        states = [network[part].state_dict() for network in networks]
        module.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    return averaged


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """The mean of floating-point tensors; of whole numbers the first."""
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack([tensor.cpu().double() for tensor in tensors]).mean(0).to(tensors[0])


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The settings of the network that differ, as ``decoder.hidden_size``."""
    found = []
    for group in GROUPS:
        ours, theirs = one.get(group) or {}, other.get(group) or {}
        found += [
            f"{group}.{name}"
            for name in sorted({*ours, *theirs})
            if ours.get(name) != theirs.get(name) and name not in APART and not name.endswith("dropout")
        ]
    return found


def _unlike(name: str, first: str, reason: str) -> CaptioningError:
    return CaptioningError(
        f"{name}: its weights can't be averaged with those of {first}: {reason}. Average captioners of one "
        "architecture and one training set, or make an ensemble of them (average=probabilities)."
    )
