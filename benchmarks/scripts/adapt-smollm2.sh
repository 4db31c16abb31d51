#!/usr/bin/env bash
# Adapts SmolLM2-135M (30 layers, imported from GGUF) by LoRA on the shared texts: what docs/adaptation.md reports.
# About an hour on two cores that multiply bfloat16; goes on where it was when it is run again.
#
#   adapt-smollm2.sh SHARED_DATA WORK_FOLDER
set -euo pipefail
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
llara=$here/llara-examples/target/llara/bin/llara

if [[ ! -d $work/smollm2 ]]; then
  model=$("$here/benchmarks/scripts/fetch-smollm2.sh")
  "$llara" import --dtype float32 "$model" "$work/smollm2"
fi
[[ -d $work/smollm2-marked ]] || "$llara" add-markers --model "$work/smollm2" --out "$work/smollm2-marked"
"$llara" pretrain --model "$work/smollm2-marked" --out "$work/smollm2-adapted" \
  --data "$data"/text/wikipedia-en-sample.jsonl.gz "$data"/text/openstax-ccby.jsonl.gz \
  --lora 64 --batch 16 --max-tokens 160 --lr 5e-4 --warmup 10 --loss-weights 1,10,10 \
  --steps 640 --hold-out 0.02 --evaluate-every 80 --save-every 40

java -Xmx3g -cp "$here/benchmarks/target/benchmarks.jar" io.llara.benchmarks.adapted.PredictedTokens \
  "The llama is a South American animal with soft wool, kept by farmers in the mountains.;In 1969 the first people walked on the moon, and millions watched it on television.;The bank raised its interest rates to slow inflation." \
  "$work/smollm2-marked" "$work/smollm2-adapted"
