"""Trainer processes that compute as one: what each brings is summed or gathered, and all get the same.

TensorFlow's `MultiWorkerMirroredStrategy` joins them and carries what they tell each other, over gRPC. A process that
ends takes the others with it: what they wait for fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Tensor = Any  # TensorFlow ships no types

TIMEOUT_S = 600.0  # that one waits for the others, who may still be reading their topics
_WORD = 4  # bytes; what is said goes over the wire as int32
_TYPES = (tf.float32, tf.int32)


class Group:
    """One of several processes; waits until all of them are there.

    Must be made before TensorFlow's first operation. All must call the same methods in the same order.

    Args:
      addresses: host:port of each process, the chief first.
      index: which of them this is.
    """

    def __init__(self, addresses: Sequence[str], index: int, timeout_s: float = TIMEOUT_S) -> None:
        self.count, self.index = len(addresses), index
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(addresses)}), task_type="worker", task_id=index, rpc_layer="grpc"
        )
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation.RING, timeout_seconds=timeout_s
        )
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
        self._sums = {
            kind.as_numpy_dtype: tf.function(self._summed, input_signature=[tf.TensorSpec([None], kind)])
            for kind in _TYPES
        }

    @property
    def chief(self) -> bool:
        """Whether this is the one that the others follow."""
        return self.index == 0

    def sum(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the sum over processes of values [n], float32 or int32; the same bits in all."""
        found: NDArray[Any] = self._sums[values.dtype.type](tf.constant(values)).numpy()
        return found

    def gather(self, message: bytes) -> list[bytes]:
        """Return what every process says, in their order."""
        sizes = np.zeros(self.count, np.int32)
        sizes[self.index] = len(message)
        sizes = self.sum(sizes)
        words = -(-sizes // _WORD)
        ends = np.cumsum(words)
        all_of_them = np.zeros(int(ends[-1]), np.int32)
        mine = all_of_them[ends[self.index] - words[self.index] : ends[self.index]]
        mine[:] = np.frombuffer(message.ljust(len(mine) * _WORD, b"\0"), np.int32)
        told = self.sum(all_of_them)
        return [
            told[end - count : end].tobytes()[:size]
            for end, count, size in zip(ends.tolist(), words.tolist(), sizes.tolist(), strict=True)
        ]

    def from_chief(self, message: bytes = b"") -> bytes:
        """Return what the chief says; the others say nothing."""
        return self.gather(message if self.chief else b"")[0]

    def _summed(self, values: Tensor) -> Tensor:
        return self._strategy.run(_all_reduced, args=(values,))


def _all_reduced(values: Tensor) -> Tensor:
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(values))
