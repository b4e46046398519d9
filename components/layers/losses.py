"""Cross-entropy against labels, smoothed labels and a teacher, always as a sum over rows."""

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, label: Tensor, smoothing: float) -> Tensor:
    """Sum over rows; the logits are widened to fp32 first."""
    return functional.cross_entropy(
        logits.float(), label, reduction="sum", label_smoothing=smoothing
    )


def divergence(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student), both softened by T, summed over rows (arXiv:1503.02531, 2.1)."""
    student = functional.log_softmax(logits.float() / temperature, -1)
    wanted = functional.log_softmax(teacher.float() / temperature, -1)
    loss = functional.kl_div(student, wanted, reduction="sum", log_target=True)
    return loss * temperature**2
