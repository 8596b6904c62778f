"""Two real processes that learn as one, beside one process that takes their batches as one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.batches import Batch
from model.weights import from_bytes, initial
from tests.conftest import free_ports
from tests.training.joint_member import CONFIG, batches_of, options, shape_of, stores

pytestmark = pytest.mark.training
STEPS, CLIP = 24, 2.0
ROOT = Path(__file__).resolve().parents[2]


def merged(parts):
    """The batches of several processes as one; their catalogues number videos alike."""
    videos = np.unique(np.concatenate([one.videos for one in parts]))
    rows = parts[0].step_video.shape[1]

    def moved(one, places):
        where = np.concatenate([[0], np.searchsorted(videos, one.videos) + 1]).astype(np.int32)
        return where[places]

    def joined(name, axis=0):
        return np.concatenate([getattr(one, name) for one in parts], axis=axis)

    offset = [np.int32(rows * at) for at in range(len(parts))]
    return Batch(
        videos=videos,
        step_video=np.concatenate([moved(one, one.step_video) for one in parts], axis=1),
        behaviour=joined("behaviour", 1),
        row=np.concatenate([one.row + more for one, more in zip(parts, offset, strict=True)]),
        time=joined("time"),
        video=np.concatenate([moved(one, one.video) for one in parts]),
        label=joined("label"),
        weight=joined("weight"),
        owner=np.concatenate([one.owner + more for one, more in zip(parts, offset, strict=True)]),
        slots=joined("slots"),
        profile=joined("profile"),
        shared=np.unique(joined("shared")),
    )


def alone():
    """The losses of one process at the same global batch, and its weights at the end."""
    from model.nets import Net

    net = Net(CONFIG, shape_of(2), options(CLIP), seed=1)
    net.load(initial(CONFIG))
    found = stores(2)
    steps = zip(*(batches_of(one, STEPS) for one in found), strict=True)
    losses = list(net.run(found[0].catalogue, map(merged, steps)))
    return losses, net.export()


def together(folder):
    """The same of two processes, each."""
    told = folder / "told.json"
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    told.write_text(json.dumps({"addresses": addresses, "steps": STEPS, "clip": CLIP, "folder": str(folder)}))
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.joint_member"]
    env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    members = [
        subprocess.Popen([*command, str(index), str(told)], cwd=ROOT, env=env, stdout=subprocess.PIPE)
        for index in range(2)
    ]
    try:
        said = [json.loads(one.communicate(timeout=120)[0].splitlines()[-1]) for one in members]
    finally:
        for one in members:
            one.kill()
            one.wait()
    assert [one.returncode for one in members] == [0, 0]
    return said, [from_bytes((folder / f"weights.{index}").read_bytes()) for index in range(2)]


def test_two_processes_learn_what_one_does_at_the_same_global_batch(tmp_path):
    (losses, weights), (said, theirs) = alone(), together(tmp_path)
    assert said[0] == said[1]
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(said[0], losses, atol=1e-5)  # a sum over processes is rounded in another order
    start = initial(CONFIG)
    for name, value in weights.items():
        np.testing.assert_array_equal(theirs[0][name], theirs[1][name], err_msg=name)  # equal to the bit
        np.testing.assert_allclose(theirs[0][name], value, atol=1e-5, err_msg=name)
        assert name.startswith("table.") or not np.array_equal(value, start[name]), name
    assert len(weights["table.profile.keys"]) > 1
