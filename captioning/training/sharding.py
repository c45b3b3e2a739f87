"""Parameters, gradients and the optimizer's numbers shared out among processes (``trainer.strategy=fsdp``).

Zhao et al. 2023, "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel" (arXiv 2304.11277); Rajbhandari et
al. 2020 (ZeRO, arXiv 1910.02054), stage 3. Each process keeps a part of each parameter, gathers a group of them when
the group computes, and forgets it afterwards. Losses and gradients are those of ``ddp``.

Lightning's strategy ``fsdp`` is that of torch's older FSDP, for GPUs alone; this one is torch's ``fully_shard``, by
Lightning's ``ModelParallelStrategy``.
"""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

LEAST = 1_000_000  # parameters of a group of its own
STEPS = ("training_step", "validation_step")  # between the two, all that belongs to no group of its own is gathered


class Sharded(ModelParallelStrategy):
    """Data parallelism over all processes with sharded parameters; checkpoints are single files of whole tensors."""

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Let Lightning shard the module at the place where it asks a module to do so."""
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()
        module: Any = self.lightning_module
        module.configure_model = lambda: shard(module, self.device_mesh["data_parallel"])


def shard(module: pl.LightningModule, mesh: DeviceMesh) -> None:
    """Shard a module's parameters in place: large elements of its sequences as groups, and all the rest as one."""
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    module.to(memory_format=torch.contiguous_format)  # torch shards no other; convolutions have channels last
    for part in groups(module):
        fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for step in STEPS:
        register_fsdp_forward_method(module, step)


def groups(module: nn.Module) -> Iterator[nn.Module]:
    """The elements of ``nn.Sequential`` modules, innermost first, with at least ``LEAST`` parameters of no inner group.

    An element of a sequence is always called as a module, so that its parameters are gathered when they are needed.
    """
    taken: set[nn.Parameter] = set()

    def walk(part: nn.Module) -> Iterator[nn.Module]:
        for child in part.children():
            yield from walk(child)
            own = set(child.parameters()) - taken
            if isinstance(part, nn.Sequential) and sum(each.numel() for each in own) >= LEAST:
                taken.update(own)
                yield child

    yield from walk(module)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that may be sharded, as a plain one; every process has to ask for it."""
    found: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return found
