#!/usr/bin/env bash
# What each stage does for retrieval: SmolLM2-135M, its first eight layers, as imported, adapted, fine-tuned on the
# shared pairs with BM25 negatives, fine-tuned with negatives mined anew once, and fine-tuned without adaptation; each
# evaluated on both shared collections, BM25 beside it. Two to three hours on two cores that multiply bfloat16; every step
# goes on where it was when the script is run again.
#
#   finetune-smollm2.sh SHARED_DATA WORK_FOLDER
set -euo pipefail
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
llara=$here/llara-examples/target/llara/bin/llara
export LLARA_JVM_OPTS=${LLARA_JVM_OPTS:--Xmx3g}

evaluate() {
  for collection in cranfield npl; do
    [[ -f $work/$1.$collection.json ]] || "$llara" evaluate --model "$work/$1" --beir "$data/beir/$collection" --bm25 \
      --max-tokens 128 --cache "$work/vectors" --json "$work/$1.$collection.json"
  done
}
finetune() {
  "$llara" finetune --lora 64 --batch 32 --negatives 3 --query-tokens 64 --passage-tokens 128 \
    --lr "${LR:-5e-4}" --warmup 20 --hold-out 0.02 --evaluate-every 50 --save-every 50 --steps "${STEPS:-200}" "$@"
}

if [[ ! -d $work/imported ]]; then
  model=$("$here/benchmarks/scripts/fetch-smollm2.sh")
  rm -rf "$work/plain"
  "$llara" import --dtype float32 --layers "${LAYERS:-8}" "$model" "$work/plain"
  "$llara" add-markers --model "$work/plain" --out "$work/imported"
fi
evaluate imported

"$llara" pretrain --model "$work/imported" --out "$work/adapted" \
  --data "$data"/text/wikipedia-en-sample.jsonl.gz "$data"/text/openstax-ccby.jsonl.gz \
  --full --batch 16 --max-tokens 160 --lr 5e-4 --warmup 20 --loss-weights 1,10,10 \
  --steps "${ADAPTATION_STEPS:-1000}" --hold-out 0.02 --evaluate-every 100 --save-every 100
evaluate adapted

pairs=("$data/pairs/medquad.jsonl.gz" "$data/pairs/xquad-en.jsonl.gz")
[[ -f $work/pairs.jsonl.gz ]] || "$llara" mine --bm25 --pairs "${pairs[@]}" --negatives 3 --ranks 1-50 --skip-bad-lines \
  --out "$work/pairs.jsonl.gz"
finetune --model "$work/adapted" --pairs "$work/pairs.jsonl.gz" --out "$work/tuned"
evaluate tuned
finetune --model "$work/imported" --pairs "$work/pairs.jsonl.gz" --out "$work/tuned-without-adaptation"
evaluate tuned-without-adaptation

# Negatives mined anew, once, in 4,000 passages that stay the same: the first of the pairs' positives.
if [[ ! -f $work/passages.jsonl ]]; then
  zcat "${pairs[@]}" | python3 -c '
import json, sys
seen = {}
for line in sys.stdin:
    for text in json.loads(line)["pos"]:
        seen.setdefault(text, len(seen))
for text, number in list(seen.items())[:4000]:
    print(json.dumps({"_id": str(number), "title": "", "text": text}))' > "$work/passages.part"
  mv "$work/passages.part" "$work/passages.jsonl"
fi
finetune --model "$work/adapted" --pairs "$work/pairs.jsonl.gz" --out "$work/refreshed" \
  --refresh-every $((${STEPS:-200} / 2)) --refreshes 1 --corpus "$work/passages.jsonl" --refresh-ranks 5-100
evaluate refreshed
