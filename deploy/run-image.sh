#!/usr/bin/env bash
# Runs what image.sh assembled as a container would: the tree is all there is to see, it cannot be written, and the
# server is user 65532. Needs root. What comes after the folder of models goes to the program.
#
#   deploy/run-image.sh FOLDER MODELS serve /models --port 8080 --auth-enabled false
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,5p' "$0"; exit 2; }
exec unshare --mount -- bash -euc '
  root=$1 models=$2
  shift 2
  mount --bind "$root" "$root"
  mount --bind "$models" "$root/models"
  mount --bind /proc "$root/proc"
  mount -o remount,bind,ro "$root/models"
  mount -o remount,bind,ro "$root"
  chroot=$(type -P chroot)
  exec setpriv --no-new-privs -- env --ignore-environment PATH=/usr/local/bin \
    "$chroot" --userspec=65532:65532 "$root" /usr/local/bin/oip "$@"
' run-image "$(realpath "$1")" "$(realpath "$2")" "${@:3}"
