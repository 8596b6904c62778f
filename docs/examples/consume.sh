#!/usr/bin/env bash
# Print all slates of a user, a JSON object each, with kcat. Usage: consume.sh BOOTSTRAP USER [PREFIX]
# kcat prints each value behind its size (%R, four bytes), because a value may hold any byte.
set -euo pipefail
bootstrap=$1 user=$2 prefix=${3:-}
kcat -C -q -e -b "$bootstrap" -t "${prefix}recommendations" -o beginning -f '%R%s' | "${PYTHON:-python3}" -c '
import json, sys
import msgspec
read, user = sys.stdin.buffer.read, sys.argv[1]
while size := read(4):
    slate = msgspec.msgpack.decode(read(int.from_bytes(size, "big")))
    if slate["user_id"] == user:
        print(json.dumps(slate))
' "$user"
