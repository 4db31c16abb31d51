#!/usr/bin/env bash
# Does adaptation help retrieval? The whole of SmolLM2-135M (30 layers), fine-tuned (a) as imported and (b) after EBAE and
# EBAR on all shared texts: the same pairs from all sources, in-batch negatives alone, the same steps, three seeds each;
# once with few steps and once with ten times as many. One adaptation serves all seeds. Evaluated on Cranfield, NPL and
# three sources of pairs that no run has seen. Every stage is kept and goes on where it was when the script is run again.
#
#   adaptation-claim.sh SHARED_DATA WORK_FOLDER
#
# FEW (30) and MANY (300) are the steps, ADAPTATION (1400, about 3 million tokens) those of the adaptation, LLARA the launcher.
set -euo pipefail
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
llara=${LLARA:-$here/llara-examples/target/llara/bin/llara}
export LLARA_JVM_OPTS=${LLARA_JVM_OPTS:--Xmx4g}
held_out=(medquad fetaqa-dev-test aws-docs)

if [[ ! -d $work/imported ]]; then
  model=$("$here/benchmarks/scripts/fetch-smollm2.sh" "$work")
  rm -rf "$work/plain"
  "$llara" import --dtype float32 "$model" "$work/plain"
  "$llara" add-markers --model "$work/plain" --out "$work/imported"
fi

# A test collection of each held-out source.
python3 "$here/benchmarks/scripts/held-out-sources.py" "$data/pairs" "$work/sources" "${held_out[@]}"

pairs=()
for file in "$data"/pairs/*.jsonl.gz; do
  name=$(basename "$file" .jsonl.gz)
  [[ " ${held_out[*]} " == *" $name "* ]] || pairs+=("$file")
done

evaluate() {
  for collection in "$data"/beir/{cranfield,npl} "$work"/sources/*; do
    json=$work/results/$1.$(basename "$collection").json
    [[ -f $json ]] || "$llara" evaluate --model "$work/$1" --beir "$collection" --max-tokens 128 --no-cache --json "$json"
  done
}
finetune() { # MODEL STEPS NAME
  for seed in 1 2 3; do
    "$llara" finetune --model "$work/$1" --pairs "${pairs[@]}" --out "$work/$3-$seed" --seed "$seed" \
      --lora 64 --lr 5e-4 --batch 64 --negatives 0 --few-negatives repeat --query-tokens 64 --passage-tokens 128 \
      --sub-batch 32 --skip-bad-lines --steps "$2" --warmup $(($2 / 10)) --save-every 25
    evaluate "$3-$seed"
    rm -rf "$work/$3-$seed/checkpoints"
  done
}

mkdir -p "$work/results"
finetune imported "${FEW:-30}" few-imported
finetune imported "${MANY:-300}" many-imported
"$llara" pretrain --model "$work/imported" --data "$data"/text/*.jsonl.gz --out "$work/adapted" \
  --lora 32 --batch 16 --max-tokens 160 --lr 5e-4 --warmup 20 --loss-weights 1,10,10 \
  --steps "${ADAPTATION:-1400}" --hold-out 0.01 --evaluate-every 100 --save-every 50 --skip-bad-lines
finetune adapted "${FEW:-30}" few-adapted
finetune adapted "${MANY:-300}" many-adapted
evaluate imported
evaluate adapted

python3 - "$work/results" <<'PYTHON'
import collections, glob, json, os, statistics, sys
table = collections.defaultdict(lambda: collections.defaultdict(list))
for file in sorted(glob.glob(f"{sys.argv[1]}/*.json")):
    run, collection = os.path.basename(file)[:-5].rsplit(".", 1)
    metrics = json.load(open(file))["runs"][0]["metrics"]
    arm = run[:-2] if run[-2:] in ("-1", "-2", "-3") else run
    table[arm][collection].append((metrics["ndcg@10"], metrics["recall@100"]))
for arm, collections_ in table.items():
    for collection, values in collections_.items():
        for name, numbers in zip(("nDCG@10", "Recall@100"), zip(*values)):
            spread = statistics.stdev(numbers) if len(numbers) > 1 else 0
            print(f"{arm:16} {collection:18} {name:10} {statistics.mean(numbers):.4f} ± {spread:.4f}  ({len(numbers)})")
PYTHON
