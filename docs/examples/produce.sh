#!/usr/bin/env bash
# Publish ten videos and open a session with kcat. Usage: produce.sh BOOTSTRAP USER [PREFIX]
set -euo pipefail
bootstrap=$1 user=$2 prefix=${3:-} now_ms=$(($(date +%s) * 1000))
send() { kcat -P -b "$bootstrap" -t "$prefix$1" -K '|' -X partitioner=murmur2_random -X acks=all; }
for number in {0..9}; do
  echo "kcat-$number|{\"video_id\":\"kcat-$number\",\"author_id\":\"author-$number\",\"published_ms\":$now_ms}"
done | send videos
echo "$user|{\"event_id\":\"$user-$now_ms\",\"user_id\":\"$user\",\"type\":\"open\",\"event_time_ms\":$now_ms}" | send events
