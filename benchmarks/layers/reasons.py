"""Why a peer can be faster than flowlib somewhere, in one line each; found by profiles."""

__all__ = ["REASONS", "reason"]

_MASKED = (
    "flowlib's coupling of images is masked: its conditioner reads and gives all channels, and kept pixels are computed "
    "to be thrown away, where theirs is split by index"
)

# (family, library) → reason; the family as a task's name begins.
REASONS: dict[tuple[str, str], str] = {
    (
        "affine coupling",
        "FrEIA",
    ): "its block makes two couplings between one split and one cat: half of the copies",
    ("MAF", "normflows"): (
        "its network has no activation behind the first layer: one ReLU of two is not computed"
    ),
    ("Glow step", "FrEIA"): (
        f"{_MASKED}; and it multiplies by a fixed rotation, where flowlib trains a matrix and solves with its two factors"
    ),
    ("Glow step", "normflows"): _MASKED,
    ("Glow step", "nflows"): _MASKED,
    ("residual", "normflows"): (
        "in evaluation mode it keeps the spectral norms that a power iteration found; flowlib's layer takes the largest "
        "singular values at every call, so that the bound holds for whatever the weights are"
    ),
}


def reason(task: str, library: str) -> str:
    """Why a library is faster at a task; says so where nobody has looked yet.

    >>> reason("MAF, D = 8: training", "normflows")
    'its network has no activation behind the first layer: one ReLU of two is not computed'
    >>> reason("MAF, D = 8: training", "zuko")
    'not looked into'
    """
    return next(
        (why for (family, who), why in REASONS.items() if who == library and task.startswith(family)),
        "not looked into",
    )
