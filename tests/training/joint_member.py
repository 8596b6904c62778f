"""One of several processes that learn as one: `python -m tests.training.joint_member INDEX FILE`, for `test_joint.py`.

`FILE` is JSON: the processes' addresses, the steps, the bound on a user, and the folder for the weights. Prints the
loss of each step as JSON.
"""

import json
import sys
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
from msgspec import structs

from model.batches import BatchShape, batches
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.examples import Examples, Limits
from model.weights import initial, to_bytes
from tests.training.world import World

ROWS, EXAMPLES, USERS = 8, 24, 6
CONFIG = ModelConfig(hidden_size=16, embedding_size=8, category_size=4)


def shape_of(share=1):
    """The shape of a batch of `share` processes together."""
    return BatchShape(rows=ROWS * share, steps=8, examples=EXAMPLES * share, history=5)


def options(clip):
    from model.net_options import NetOptions

    return NetOptions(rate=0.003, dropout=0.0, user_clip=clip, read=True)


def stores(processes, records=240):
    """The examples of each process: its share of the viewers, by the number of a viewer."""
    world, found = World(seed=7, viewers=12, videos=60, topics=10, authors=12), []
    for _ in range(processes):
        one = Examples(Catalogue(read=True), Limits(profile_users=2))
        one.catalogue.add(world.catalogue)
        found.append(one)
    for record in world.exposures(records):
        viewer = int(record.user_id[1:])
        profile = (3, 5) if viewer < USERS else (5, 9 + viewer)
        found[viewer % processes].add(structs.replace(record, profile=profile))
    return found


def batches_of(store, steps):
    """So many batches, pass after pass over the examples."""
    passes = (batches(store, np.arange(store.kept), shape_of(), np.random.default_rng(number)) for number in count())
    return list(islice(chain.from_iterable(passes), steps))


def main():
    """Learn and say what came of it."""
    from model.group import Group
    from model.joint import JointNet

    index, told = int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    group = Group(told["addresses"], index)
    net = JointNet(CONFIG, shape_of(), options(told["clip"]), group, seed=1)
    net.load(initial(CONFIG))
    store = stores(group.count)[index]
    losses = list(net.run(store.catalogue, batches_of(store, told["steps"])))
    Path(told["folder"], f"weights.{index}").write_bytes(to_bytes(net.export()))
    print(json.dumps(losses))


if __name__ == "__main__":
    main()
