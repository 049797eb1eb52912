#!/bin/sh
# prune_releases.sh PREFIX NEW KEEP: removes releases older than the KEEP newest, but never the
# active one, the one before it, NEW, or one that a process was started from (the nbdkit of a mapped
# volume outlives upgrades). Says what it removed.
set -eu
cd "$1/releases"
running="$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n')"
kept=0
for name in $(ls -1t); do
    [ -e "$name/.complete" ] || continue
    kept=$((kept + 1))
    [ "$kept" -gt "$3" ] || continue
    case "$name" in
        "$2" | "$(basename "$(readlink "$1/current" || true)")" | "$(basename "$(readlink "$1/previous" || true)")") continue ;;
    esac
    case "$running" in *"$1/releases/$name/"*) continue ;; esac
    rm -rf "$name"
    echo "removed $name"
done
