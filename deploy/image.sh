#!/usr/bin/env bash
# Assembles the tree of an image from a binary: everything that is in it, and nothing else. The Dockerfile calls this;
# by hand it makes a folder to run in a chroot, or to pack where no registry is reached.
#
#   deploy/image.sh static  target/x86_64-unknown-linux-gnu/release/oip  FOLDER
#   deploy/image.sh dynamic target/release/oip                           FOLDER [libonnxruntime.so.X]
#
# static: a binary without libraries; it runs models with the embedded engine.
# dynamic: a binary with the C library it was built with and, where it is named, ONNX Runtime.
#
# The same files give the same tree: times are those of SOURCE_DATE_EPOCH, or 1970.
set -euo pipefail

usage() { sed -n '2,13p' "$0"; exit 2; }
[ $# -ge 3 ] || usage
form=$1 binary=$2 root=$3 onnxruntime=${4:-}
fail() { echo "$0: $1" >&2; exit 1; }

[ -x "$binary" ] || fail "there is no program at $binary"
[ ! -e "$root" ] || fail "$root is there already"
is_static() { ! ldd "$binary" > /dev/null 2>&1 || ldd "$binary" | grep -q 'statically linked'; }

# The libraries that a file needs, each where the file looks for it.
needed() { ldd "$1" | awk '$3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }'; }

put_libraries() {
  local library
  needed "$1" | while read -r library; do
    # A debug build's or a virtual environment's own libraries have no place in an image.
    case $library in /lib* | /usr/lib*) ;; *) fail "$1 needs $library, which is none of the system's" ;; esac
    install -D --mode=755 "$(readlink -f "$library")" "$root$library"
  done
}

mkdir -p "$root"
install -D --mode=755 "$binary" "$root/usr/local/bin/oip"
case $form in
  static)
    is_static || fail "$binary is linked dynamically: RUSTFLAGS='-C target-feature=+crt-static'"
    ;;
  dynamic)
    ! is_static || fail "$binary is linked statically and could not load anything"
    put_libraries "$binary"
    if [ -n "$onnxruntime" ]; then
      install -D --mode=755 "$onnxruntime" "$root/usr/local/lib/$(basename "$onnxruntime")"
      put_libraries "$onnxruntime"
    fi
    ;;
  *) usage ;;
esac

# Where models, configuration and keys are mounted; the authorities for key sets and decision points over https.
mkdir -p "$root"/{models,mnt/models,etc/oip,etc/oip-auth,tmp,proc,sys,dev}
echo "oip:x:65532:65532:oip:/:/sbin/nologin" > "$root/etc/passwd"
echo "oip:x:65532:" > "$root/etc/group"
# A container's own is mounted over it.
printf '127.0.0.1 localhost\n::1 localhost\n' > "$root/etc/hosts"
echo "hosts: files dns" > "$root/etc/nsswitch.conf"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
  install -D --mode=644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi
chmod -R u=rwX,go=rX "$root"
find "$root" -depth -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
du -sh --apparent-size "$root" | cut -f1
