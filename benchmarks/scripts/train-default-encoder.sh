#!/usr/bin/env bash
# Makes the default encoder from SmolLM2-135M-Instruct and the shared pairs (docs/default-encoder.md). Stages that are there
# are kept, and fine-tuning goes on where it was, when the script is run again.
#
#   train-default-encoder.sh SHARED_DATA WORK_FOLDER
#
# LLARA is the launcher, STEPS (400) the length of the fine-tuning, BATCH (32) the pairs of a step.
set -euo pipefail
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
llara=${LLARA:-$here/llara-examples/target/llara/bin/llara}
export LLARA_JVM_OPTS=${LLARA_JVM_OPTS:--Xmx3g}

# Each source with its weight; medquad, fetaqa-dev-test and aws-docs are held out.
sources="acl-anthology-title-abstract 8
arxiv-title-abstract 14
scitldr 6
openstax 18
qed-nq-dev 2
squad-dev 9
squad-train-sentences 5
wikipedia-factoid-questions 12
wikipedia-title-lead 7
wikipedia-title-section 14
wikipedia-vital-summaries 8
microsoft-docs 12
debian-package-descriptions 5
foldoc 2
wordnet-glosses 1
world-factbook 1
disease-ontology 1
wikibooks-recipes 2
desktop-help 2
xquad-en 1"
pairs=()
weights=
while read -r name weight; do
  pairs+=("$data/pairs/$name.jsonl.gz")
  weights=$weights${weights:+,}$weight
done <<< "$sources"

if [[ ! -d $work/imported ]]; then
  model=$("$here/benchmarks/scripts/fetch-smollm2.sh" "$work")
  rm -rf "$work/plain"
  "$llara" import --dtype float32 "$model" "$work/plain"
  "$llara" add-markers --model "$work/plain" --out "$work/imported"
fi

# Batches of one source: negatives that are all from elsewhere are too easy.
"$llara" finetune --model "$work/imported" --pairs "${pairs[@]}" --weights "$weights" --one-source-batches \
  --out "$work/tuned" --seed 1 --full --lr 1e-4 --warmup 20 --steps "${STEPS:-400}" --batch "${BATCH:-32}" \
  --negatives 0 --query-tokens 48 --passage-tokens 128 --save-every 50

[[ -d $work/short ]] || "$llara" shrink --model "$work/tuned" --out "$work/short" --vocab 24576

# Sixty passages and their queries to calibrate with.
[[ -f $work/calibration.txt ]] || python3 - "$work/calibration.txt" "${pairs[@]}" <<'PYTHON'
import gzip, json, os, random, sys
out, *files = sys.argv[1:]
draw = random.Random(3)
with open(out + ".part", "w", encoding="utf-8") as lines:
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as pairs:
            for pair in draw.sample([json.loads(line) for line in pairs], 3):
                print(" ".join(pair["pos"][0].split())[:500], file=lines)
                print(" ".join(pair["query"].split()), file=lines)
os.rename(out + ".part", out)
PYTHON

[[ -d $work/quantized ]] || "$llara" quantize --model "$work/short" --out "$work/quantized" --bits 4 --embedding-bits 8 \
  --group 32 --shard-mb 19 --texts "$work/calibration.txt"

# Three thousand passages of the same sources and weights, onto whose principal axes the vectors are turned.
[[ -f $work/rotation.txt ]] || python3 - "$work/rotation.txt" "$data/pairs" "$sources" <<'PYTHON'
import gzip, json, os, random, sys
out, folder, sources = sys.argv[1:]
weights = {name: int(weight) for name, weight in (line.split() for line in sources.splitlines())}
draw = random.Random(11)
passages = []
for name, weight in weights.items():
    with gzip.open(f"{folder}/{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    draw.shuffle(pairs)
    most = min(len(pairs), 24000 * weight // sum(weights.values()))
    drawn = {}
    for pair in pairs:
        if len(drawn) == most:
            break
        drawn[draw.choice(pair["pos"])] = None
    passages += drawn
draw.shuffle(passages)
with open(out + ".part", "w", encoding="utf-8") as lines:
    for passage in passages[:3000]:
        print(" ".join(passage.split()), file=lines)
os.rename(out + ".part", out)
PYTHON

[[ -d $work/llara-mini ]] || "$llara" rotate --model "$work/quantized" --out "$work/llara-mini" "$work/rotation.txt"

# What lies in llara-mini/src/main/resources/io/llara/mini/model.
(cd "$work/llara-mini" && python3 -c '
import sys, zlib
for name in sys.argv[1:]:
    print("%08x  %s" % (zlib.crc32(open(name, "rb").read()), name))' *.json *.safetensors > CRC32SUMS)
for collection in "$data"/beir/{cranfield,npl}; do
  "$llara" evaluate --model "$work/llara-mini" --beir "$collection" --no-cache --searcher exact,hybrid --bm25
done
