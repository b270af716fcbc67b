"""Teaching one density to another by its own samples."""

from torch import Tensor, nn

from flowlib.checks import check_size
from flowlib.flow import Flow

__all__ = ["distillation_loss"]


def distillation_loss(student: Flow, teacher: nn.Module, num_samples: int) -> Tensor:
    """(1/n) Σ [log q(x_k) − log p(x_k)] in nats, x_k ~ q: the estimate of KL(q ‖ p) that a student q is trained by.

    Unbiased, and so is its gradient: the draws are reparameterized, so that it passes through them to the
    student. The student's `inverse` is never called, since log q of a draw comes with it; the teacher gives
    `log_prob(x)` `(n,)`. An inverse autoregressive student and a masked autoregressive teacher make a loss
    without a sequential step. The gradient reaches the teacher's parameters as well: freeze them, or give the
    optimizer the student's alone, as `fit(student, …)` does.

    Raises `ValueError` for num_samples < 1.
    Source: van den Oord et al. 2017, arXiv:1711.10433 (Parallel WaveNet).

    >>> from flowlib import iaf, maf
    >>> student, teacher = iaf(2, 1), maf(2, 1)  # both start as the identity on N(0, I)
    >>> abs(distillation_loss(student, teacher, 100).item()) < 1e-5
    True
    """
    shape = (check_size("num_samples", num_samples),)
    x, log_q = student.sample_with_log_prob(shape, reparameterized=True)
    return (log_q - teacher.log_prob(x)).mean()
