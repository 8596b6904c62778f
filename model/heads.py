"""The two heads, as queries and keys whose product is the logit.

`concat` is the published form, `sigmoid(W_score [user_vector, video_vector])`: the user's part adds the same to every
video, so it decides whether to recommend and not in which order. `interaction` adds `user^T M video` and a bias a video.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streams.core.ports import Floats


def queries(users: Floats, weights: Mapping[str, NDArray[np.generic]]) -> Floats:
    """Return queries [B, D] of user vectors [B, E]: D = 2 for `concat`, E + 2 for `interaction`."""
    own = users @ _floats(weights["head.user"])[:, None] + _floats(weights["head.bias"])
    one = np.ones((len(users), 1), np.float32)
    parts = [users, own, one] if "head.interaction" in weights else [own, one]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def keys(videos: Floats, biases: Floats, weights: Mapping[str, NDArray[np.generic]]) -> Floats:
    """Return keys [N, D] of video vectors [N, E] and their biases [N, 1], which `concat` does not have."""
    own = videos @ _floats(weights["head.video"])[:, None]
    one = np.ones((len(videos), 1), np.float32)
    if "head.interaction" not in weights:
        return np.concatenate([one, own], axis=1, dtype=np.float32)
    crossed = videos @ _floats(weights["head.interaction"]).T
    return np.concatenate([crossed, one, own + biases], axis=1, dtype=np.float32)


def _floats(array: NDArray[np.generic]) -> Floats:
    return array.astype(np.float32, copy=False)
