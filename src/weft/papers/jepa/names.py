"""The probe's errors under the names and in the units of the original's log."""

# T frames, K dots

from __future__ import annotations

from torch import Tensor


def logged(errors: Tensor, of_first: Tensor, scale: float) -> dict[str, float]:
    """The original's logs of an evaluation: in pixels² and, with `_rmse`, in pixels.

    The root is taken of the mean.

    Args:
        errors: mean squared Euclidean distance of each frame and dot, (T, K), in the units of the
            batch; the first frame is the last one of the context.
        of_first: the same error of the encoder's read-out of the first frame, (K,).
        scale: pixels per unit of the batch; 1 if positions are not normalised.
    Returns: `avg_eval_loss`, `avg_eval_enc_loss`, `eval/loss_K` of dot K, `eval/loss_T_K` of dot K
        in frame T, and `…_rmse` of each.
    """
    losses = {
        "avg_eval_loss": errors.mean(),
        "avg_eval_enc_loss": of_first.mean(),
        **{f"eval/loss_{k}": error for k, error in enumerate(errors.mean(0))},
        **{
            f"eval/loss_{t}_{k}": error
            for t, row in enumerate(errors)
            for k, error in enumerate(row)
        },
    }
    return {
        key: value
        for name, loss in losses.items()
        for key, value in (
            (name, float(loss) * scale**2),
            (f"{name}_rmse", float(loss.sqrt()) * scale),
        )
    }
