#!/bin/sh
# Makes a Python environment for each peer in a folder: ./install.sh FOLDER
# Peers need environments of their own: some register the same protobuf package.
set -eu
folder=${1:?usage: install.sh FOLDER}
python=${PYTHON:-python3}
mkdir -p "$folder"

install() {
    name=$1
    shift
    echo "$name: $*"
    "$python" -m venv "$folder/$name"
    "$folder/$name/bin/pip" install --quiet "$@"
}

install mlserver mlserver==1.7.1
install kserve kserve==0.21.0
install original aissemble-open-inference-protocol-fastapi==1.1.0
# The wheel of PyTriton carries the server itself, with its Python backend.
install triton nvidia-pytriton==0.7.0 || echo "triton: no wheel for this platform; left out"
# A library in Rust: the program that serves with it is in furnace/.
echo "furnace: furnace-server 0.16.2"
cargo install --quiet --locked --root "$folder/furnace" --path "$(dirname "$0")/furnace" --target-dir "$folder/furnace/target"
