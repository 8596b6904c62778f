"""How RocksDB is opened: for a worker that serves, and while an empty or old store is filled from its changelog."""

from __future__ import annotations

from typing import Any

import rocksdb

_NO_LIMIT = 1 << 20  # files


def serving_options() -> Any:
    """Return options for reads and writes in turn.

    A filled store begins with all its files in the first level. Writes are held back at 64 of them instead of 20, which
    is 4 GB of states in one partition, so that a worker serves while RocksDB sorts them into its levels.
    """
    return _options(write_buffer_size=4 << 20, level0_slowdown_writes_trigger=64, level0_stop_writes_trigger=_NO_LIMIT)


def filling_options() -> Any:
    """Return options for many writes and few reads: each record is written once, in large sorted files.

    RocksDB's own memory is 192 MB at most meanwhile.
    """
    return _options(
        write_buffer_size=64 << 20,
        max_write_buffer_number=3,
        disable_auto_compactions=True,
        level0_slowdown_writes_trigger=_NO_LIMIT,
        level0_stop_writes_trigger=_NO_LIMIT,
    )


def _options(**changes: Any) -> Any:
    table = rocksdb.BlockBasedTableFactory(
        block_cache=rocksdb.LRUCache(8 << 20), filter_policy=rocksdb.BloomFilterPolicy(10)
    )
    return rocksdb.Options(
        create_if_missing=True, max_open_files=64, table_factory=table, keep_log_file_num=2, **changes
    )
