#!/usr/bin/env bash
# What a person with a card runs: a Markdown table on standard output, in under ten minutes; progress on standard error.
#
# Kernels, speed and memory of encoding, all GPUs at once where there are several, and steps of training.
#
#     gpu-check.sh [--device cuda:0] [--golden DIR] [--python PYTHON] [options of io.llara.benchmarks.GpuCheck]
#
# In a checkout that has been built (mvn -DskipTests package), with LLARA_LIBTORCH set, or as gpu-check in the archive of portable-bundle.sh. Golden cases are those of a folder for llara verify (docs/golden.md).
# With transformers in the Python that --python names (python3 by default), its speed stands beside ours, with SDPA and,
# where it is installed, flash attention. On the processor, to try it out:
#
#     gpu-check.sh --device cpu --shape tiny --type float32 --tokens 512 --encodes 100 --rounds 2
#
# The exit code is 1 if something that has a limit is beyond it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

device=cuda:0
golden=
python=$(command -v python3 || true)
options=()
peers=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --device) device=$2; shift 2 ;;
    --golden) golden=$2; shift 2 ;;
    --python) python=$2; shift 2 ;;
    *) options+=("$1"); shift ;;
  esac
done

if [[ -x $here/../llara ]]; then # The archive's.
  java() { local main=$1; shift; LLARA_MAIN=$main "$here/../llara" "$@"; }
  llara() { "$here/../llara" "$@"; }
else
  root=$here/../..
  home=${LLARA_LIBTORCH:+-Dllara.libtorch.home=$LLARA_LIBTORCH}
  java() { command java ${home:+"$home"} ${LLARA_JVM_OPTS:-} -cp "$root/benchmarks/target/benchmarks.jar:$root/llara-examples/target/llara/lib/*" "$@"; }
  llara() { LLARA_JVM_OPTS="$home ${LLARA_JVM_OPTS:-}" "$root/llara-examples/target/llara/bin/llara" "$@"; }
fi

failed=0
llara doctor >&2 || failed=1
echo '| check | found | wanted |'
echo '|---|---|---|'
if [[ -n $golden ]]; then
  for type in float32 bfloat16; do
    result=$(llara verify --device "$device" --dtype "$type" "$golden") || failed=1
    grep -v ': pass' <<< "$result" >&2 || true
    result=$(tail -n 1 <<< "$result")
    echo "| golden cases in $type | ${result:-not run} | 0 failed |"
  done
fi
if [[ -n $python ]] && "$python" -c 'import torch, transformers' 2> /dev/null; then
  peers+=(--peer "$python:$here/transformers-gpu-peer.py:sdpa")
  if "$python" -c 'import flash_attn' 2> /dev/null; then
    peers+=(--peer "$python:$here/transformers-gpu-peer.py:flash_attention_2")
  fi
else
  echo "no transformers in ${python:-python3}: its cells are left out" >&2
fi
java io.llara.benchmarks.GpuCheck --device "$device" "${options[@]}" "${peers[@]}" || failed=1
java io.llara.benchmarks.GpuTrainingCheck --device "$device" "${options[@]}" || failed=1
exit "$failed"
