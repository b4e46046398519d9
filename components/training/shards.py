"""Ranks that each hold a part of every tensor (FSDP2): for models too large for one device.

Weights, moments, averages and the best epoch's weights are parts; a block of layers is whole only
while it computes. What leaves a training, checkpoints and result, is whole again: the same file as
one process writes.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from components.layers.transformer import Layer
from components.training.ranks import Note
from components.training.replicas import Replicas


class Shards(Replicas):
    """The ranks of the process group, with the model shared among them."""

    computes_idle = True  # a forward gathers the others' parts: nobody may stay away

    def __init__(self, device: str) -> None:
        super().__init__()
        self.mesh: DeviceMesh = init_device_mesh(device, (self.number,))

    def place(self, model: nn.Module) -> None:
        """Shard every layer of a transformer by itself, and what is left together."""
        parts = [each for each in model.modules() if isinstance(each, Layer)]
        for part in (*parts, model):
            fully_shard(part, mesh=self.mesh, reshard_after_forward=True)
        for part in (*parts, model):
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)  # portions are added up, not averaged
                part.set_force_sum_reduction_for_comms(True)
        register_fsdp_forward_method(model, "inside")

    def add(self, parameters: Sequence[nn.Parameter], note: Note, present: int) -> list[Note]:
        """Notes only: the backward pass added up gradients already."""
        return self._told(note)[:present].tolist()

    def finish(self, parameters: Sequence[nn.Parameter]) -> None:
        """Nothing: every rank has the gradient of its part."""

    def whole(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gathered by all ranks together; the leader alone keeps them, in its main memory."""
        found = {}
        for name, value in tensors.items():
            full = value.full_tensor() if isinstance(value, DTensor) else value
            if self.leads:
                found[name] = full.detach().cpu()
        return found

    def part(self, whole: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._part(value, like[name]) for name, value in whole.items()}

    def local(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [each.to_local() if isinstance(each, DTensor) else each for each in tensors]

    def _part(self, value: Tensor, like: Tensor) -> Tensor:
        if not isinstance(like, DTensor):
            return value
        value = value.to(self.mesh.device_type)
        return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
