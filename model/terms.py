"""A score taken apart: what the user, the video and their meeting each add to the logit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.ports import Floats


def terms(
    weights: Mapping[str, NDArray[Any]], users: Floats, videos: Floats, biases: Floats
) -> dict[str, NDArray[np.float64]]:
    """Return the terms [B, N] of the logits; their sum is the logit up to rounding.

    Args:
      weights: of the version; `head.interaction` is absent in the `concat` form.
      users: [B, E] user vectors.
      videos: [N, E] video vectors.
      biases: [N] learned biases of the videos; they count in the `interaction` form alone.
    """
    shape = (len(users), len(videos))
    found = {
        "user": np.broadcast_to((users @ weights["head.user"])[:, None], shape),
        "video": np.broadcast_to((videos @ weights["head.video"])[None, :], shape),
        "bias": np.broadcast_to(weights["head.bias"].astype(np.float64), shape),
    }
    crossed = weights.get("head.interaction")
    if crossed is not None:
        found["bias"] = found["bias"] + biases[None, :]
        found["interaction"] = users @ crossed @ videos.T
    return {name: np.asarray(values, np.float64) for name, values in found.items()}
