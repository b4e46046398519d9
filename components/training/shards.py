"""Ranks that each hold a part of every tensor (FSDP2): for models too large for one device.

Weights, moments, averages and the best epoch's weights are parts; a block of layers is whole only
while it computes. What leaves a training, checkpoints and result, is whole again: the same file as
one process writes.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.fsdp._fully_shard._fsdp_api import ReduceScatter
from torch.distributed.tensor import DTensor, distribute_tensor

from components.layers.transformer import Layer
from components.training.ranks import Note
from components.training.replicas import Replicas, summed


class Shards(Replicas):
    """The ranks of the process group, with the model shared among them."""

    computes_idle = True  # a forward gathers the others' parts: nobody may stay away

    def __init__(self, device: str) -> None:
        super().__init__()
        self.mesh: DeviceMesh = init_device_mesh(device, (self.number,))
        self._adding = _Adding()
        self._gradients: list[Tensor | None] = []

    def place(self, model: nn.Module) -> None:
        """Shard every layer of a transformer by itself, and what is left together."""
        for each in model.parameters():
            each.data = each.data.contiguous()  # FSDP2 shares no other (torch 2.13)
        parts = [each for each in model.modules() if isinstance(each, Layer)]
        for part in (*parts, model):
            sharded = fully_shard(part, mesh=self.mesh, reshard_after_forward=True)
            sharded.set_gradient_divide_factor(1.0)  # portions are added up, not averaged
            sharded.set_force_sum_reduction_for_comms(True)
            sharded.set_custom_reduce_scatter(self._adding)
        register_fsdp_forward_method(model, "inside")

    def begin(self, present: int) -> None:
        super().begin(present)
        self._adding.begin(present)

    def add(self, parameters: Sequence[nn.Parameter], note: Note) -> list[Note]:
        """Notes only: the backward pass has added up the gradients."""
        self._gradients = [each.grad for each in parameters]
        for each in parameters:
            each.grad = None  # the next round's sum holds this one's
        return self._told(note).tolist()

    def finish(self, parameters: Sequence[nn.Parameter]) -> None:
        for each, gradient in zip(parameters, self._gradients, strict=True):
            each.grad = gradient
        self._adding.forget()

    def clip(self, parameters: Sequence[nn.Parameter], norm: float) -> None:
        """Each gradient is gathered for its length: that of parts added up is another number."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        lengths = [torch._foreach_norm([_full(each)])[0] for each in gradients]
        total = torch.linalg.vector_norm(torch.stack(lengths))
        factor = torch.clamp(norm / (total + 1e-6), max=1.0)
        torch._foreach_mul_(self.local(gradients), factor)

    def whole(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gathered by all ranks together; the leader alone keeps them, in its main memory."""
        found = {}
        for name, value in tensors.items():
            full = _full(value)
            if self.leads:
                found[name] = full.detach().cpu()
        return found

    def part(self, whole: dict[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._part(value, like[name]) for name, value in whole.items()}

    def local(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [each.to_local() if isinstance(each, DTensor) else each for each in tensors]

    def _part(self, value: Tensor, like: Tensor) -> Tensor:
        if not isinstance(like, DTensor):
            return value
        value = value.to(self.mesh.device_type)
        return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


class _Adding(ReduceScatter):
    """FSDP2's reduce-scatter, with sums in the order of the portions."""

    def __init__(self) -> None:
        self._sums: dict[int, Tensor] = {}
        self._turn = self._present = 0

    def begin(self, present: int) -> None:
        """A round begins: groups of tensors come in the same order as in the round before."""
        self._turn, self._present = 0, present

    def forget(self) -> None:
        """The step is over."""
        self._sums = {}

    def allocate(
        self, size: Sequence[int | torch.SymInt], *, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """Memory for what is sent and for what comes of it."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, **_: object) -> None:
        """Put this rank's stretch of the sum into the output."""
        total = summed(self._sums.get(self._turn), input_tensor, self._present)
        self._sums[self._turn] = total
        self._turn += 1
        output_tensor.copy_(total)


def _full(tensor: Tensor) -> Tensor:
    """A tensor that the ranks share by its first axis, whole in each of them.

    DTensor's own `full_tensor` crashed now and then in the native code that waits for gloo
    (torch 2.13: a double free).
    """
    if not isinstance(tensor, DTensor):
        return tensor
    part, ranks = tensor.to_local().detach(), tensor.device_mesh.size()
    rows = -(-tensor.shape[0] // ranks)  # the last ranks may have fewer, or none
    sent = part.new_zeros(rows, *tensor.shape[1:])
    sent[: len(part)] = part
    whole = part.new_empty(rows * ranks, *tensor.shape[1:])
    dist.all_gather_single(whole, sent)
    return whole[: tensor.shape[0]]
