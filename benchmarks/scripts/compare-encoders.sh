#!/usr/bin/env bash
# Prints how well BM25, the models of LangChain4j's jars and the default encoder, alone and with BM25, search Cranfield, NPL and
# the sources of pairs that the default encoder was not trained on (docs/default-encoder.md). Vectors are kept in the work
# folder: a second run takes seconds, one that was killed goes on.
#
#   compare-encoders.sh SHARED_DATA WORK_FOLDER
#
# THREADS (1); TYPE (float32) is what the default encoder computes in, and the others if it is bfloat16. Needs a build with the profile teachers (benchmarks/README.md).
set -euo pipefail
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
held_out=(medquad fetaqa-dev-test aws-docs)

python3 "$here/benchmarks/scripts/held-out-sources.py" "$data/pairs" "$work/sources" "${held_out[@]}"
java -Xmx2g -cp "$here/benchmarks/target/benchmarks.jar" io.llara.benchmarks.teachers.RetrievalTable "$work/vectors" \
  "${THREADS:-1}" "${TYPE:-float32}" "$data"/beir/{cranfield,npl} "${held_out[@]/#/$work/sources/}"
