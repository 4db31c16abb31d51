#!/usr/bin/env bash
# Does adaptation help retrieval? The whole of SmolLM2-135M (30 layers, all parameters), fine-tuned (a) as imported and (b) after
# EBAE and EBAR: the same pairs from all sources but those held out, in-batch negatives alone, the same steps, three seeds
# each, and once more with a tenth of the steps. One adaptation serves all seeds. Evaluated on Cranfield, NPL and three sources
# of pairs that no run has seen. Every stage is kept and goes on where it was when the script is run again.
#
#   adaptation-claim.sh SHARED_DATA WORK_FOLDER
#
# STEPS (300) and BATCH (64) are those of fine-tuning, ADAPTATION (650, about 3 million tokens) the steps of the adaptation; SEEDS
# ("1 2 3"); COLLECTIONS leaves out collections by naming the others; TYPE (auto) is what evaluation computes in; LLARA is the
# launcher. A work folder is for one setting.
set -euo pipefail
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
llara=${LLARA:-$here/llara-examples/target/llara/bin/llara}
export LLARA_JVM_OPTS=${LLARA_JVM_OPTS:--Xmx4g}
held_out=(medquad fetaqa-dev-test aws-docs)
steps=${STEPS:-300}

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

mkdir -p "$work/results"
evaluate() {
  for name in ${COLLECTIONS:-cranfield npl "${held_out[@]}"}; do
    collection=$data/beir/$name
    [[ -d $collection ]] || collection=$work/sources/$name
    json=$work/results/$1.$name.json
    [[ -f $json ]] || "$llara" evaluate --model "$work/$1" --beir "$collection" --max-tokens 128 --no-cache \
      --dtype "${TYPE:-auto}" --json "$json"
  done
}

"$llara" pretrain --model "$work/imported" --data "$data"/text/*.jsonl.gz --out "$work/adapted" \
  --full --lr 1e-4 --warmup 15 --batch 32 --max-tokens 160 --passage-tokens 128 --loss-weights 0,10,10 \
  --steps "${ADAPTATION:-650}" --save-every 20 --skip-bad-lines --seed 1
for size in "$steps" $(((steps + 9) / 10)); do
  for seed in ${SEEDS:-1 2 3}; do
    for start in imported adapted; do
      run=$start-$size-$seed
      "$llara" finetune --model "$work/$start" --pairs "${pairs[@]}" --out "$work/$run" --seed "$seed" \
        --full --lr 1.5e-4 --batch "${BATCH:-64}" --negatives 0 --few-negatives repeat --query-tokens 48 --passage-tokens 128 \
        --skip-bad-lines --steps "$size" --warmup $(((size + 9) / 10)) --save-every 25
      evaluate "$run"
      rm -rf "$work/$run/checkpoints"
    done
  done
done
evaluate imported
evaluate adapted

python3 - "$work/results" <<'PYTHON'
import collections, glob, json, os, re, statistics, sys
table = collections.defaultdict(lambda: collections.defaultdict(list))
for file in sorted(glob.glob(f"{sys.argv[1]}/*.json")):
    run, collection = os.path.basename(file)[:-5].rsplit(".", 1)
    metrics = json.load(open(file))["runs"][0]["metrics"]
    arm = re.sub(r"-\d+$", "", run)
    table[arm][collection].append((metrics["ndcg@10"], metrics["recall@100"]))
for arm, collections_ in table.items():
    for collection, values in collections_.items():
        for name, numbers in zip(("nDCG@10", "Recall@100"), zip(*values)):
            spread = statistics.stdev(numbers) if len(numbers) > 1 else 0
            print(f"{arm:16} {collection:18} {name:10} {statistics.mean(numbers):.4f} ± {spread:.4f}  ({len(numbers)})")
PYTHON
