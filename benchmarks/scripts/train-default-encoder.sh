#!/usr/bin/env bash
# Makes the default encoder from SmolLM2-135M-Instruct and the shared texts and pairs (docs/default-encoder.md). Stages that
# are there are kept, and training goes on where it was, when the script is run again.
#
#   train-default-encoder.sh SHARED_DATA WORK_FOLDER
#
# LLARA is the launcher, BENCHMARKS the jar of the benchmarks built with -Pteachers, PYTHON a Python with numpy and
# safetensors; ADAPTATION (260), STEPS (380) and MORE_STEPS (1390) are the steps of the three trainings, PAIRS (1) is the part of
# the pairs that is drawn, EVALUATE (cranfield npl) names the collections that the result is evaluated on, and TEACHER_TYPE
# (bfloat16) is what the teacher computes in.
set -euo pipefail
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
llara=${LLARA:-$here/llara-examples/target/llara/bin/llara}
benchmarks=${BENCHMARKS:-$here/benchmarks/target/benchmarks.jar}
python=${PYTHON:-python3}
adaptation=${ADAPTATION:-260}
steps=${STEPS:-380}
more_steps=${MORE_STEPS:-1390}
part=${PAIRS:-1}
export LLARA_JVM_OPTS=${LLARA_JVM_OPTS:--Xmx3g}

if [[ ! -d $work/imported ]]; then
  model=$("$here/benchmarks/scripts/fetch-smollm2.sh" "$work")
  rm -rf "$work/plain"
  "$llara" import --dtype float32 "$model" "$work/plain"
  "$llara" add-markers --model "$work/plain" --out "$work/imported"
fi

# EBAE and EBAR alone: nothing is generated any more.
"$llara" pretrain --model "$work/imported" --out "$work/adapted" \
  --data "$data"/text/{wikipedia-en-sample,wikipedia-en-more,openstax-ccby,openstax-more,microsoft-docs}.jsonl.gz \
  --full --lr 1e-4 --warmup $((adaptation * 15 / 260)) --steps "$adaptation" --batch 32 --max-tokens 160 --passage-tokens 128 \
  --loss-weights 0,10,10 --seed 1 --save-every 65 --skip-bad-lines

# pairs NAME PART SEED LONG: pairs of all sources but those held out, what bge-small makes of them, and neighbours into batches
# of one file.
pairs() {
  [[ -f $work/$1.jsonl ]] ||
    "$python" "$here/benchmarks/scripts/default-encoder-pairs.py" draw "$data/pairs" "$work/$1.jsonl" "${@:2}"
  java -Xmx2g -cp "$benchmarks" io.llara.benchmarks.teachers.JarTeacher bge-small-en-v1.5 "${TEACHER_TYPE:-bfloat16}" \
    "$(nproc)" "$work/teacher" "$work/$1.jsonl"
  if [[ ! -d $work/$1-groups ]]; then
    rm -rf "$work/$1-groups.part"
    "$python" "$here/benchmarks/scripts/default-encoder-pairs.py" group "$work/$1.jsonl" "$(teacher "$1")" \
      "$work/$1-groups.part"
    mv "$work/$1-groups.part" "$work/$1-groups"
  fi
}
teacher() { echo "$work/teacher/$1.bge-small-en-v1.5.safetensors"; }

# tune NAME MODEL OUT OPTION…
tune() {
  "$llara" finetune --model "$work/$2" --pairs "$work/$1"-groups/*.jsonl --one-source-batches --teacher "$(teacher "$1")" \
    --distil-weights 3,1 --teacher-temperature 0.02 --out "$work/$3" --seed 1 --full --lr 1.5e-4 --negatives 0 \
    --query-tokens 48 "${@:4}"
}

pairs pairs "$part" 17 0
tune pairs adapted tuned --steps "$steps" --warmup $((steps * 20 / 380)) --batch 64 --passage-tokens 128 --save-every 55

[[ -d $work/short ]] || "$llara" shrink --model "$work/tuned" --out "$work/short" --vocab 24576

# Again, in smaller batches, with other pairs, longer passages and the shorter prompts.
pairs more-pairs "$("$python" -c "print(1.3 * $part)")" 18 0.2
tune more-pairs short tuned-more --template "$here/benchmarks/scripts/llara-mini.json" \
  --steps "$more_steps" --warmup $((more_steps * 40 / 1390)) --batch 32 --passage-tokens 256 --save-every 60

# Sixty pairs to calibrate with, and three thousand passages onto whose principal axes the vectors are turned.
[[ -f $work/rotation.txt ]] || "$python" - "$work" <<'PYTHON'
import json, os, random, sys
folder = sys.argv[1]
pairs = [json.loads(line) for line in open(f"{folder}/more-pairs.jsonl", encoding="utf-8")]
random.Random(3).shuffle(pairs)
def write(name, texts):
    with open(f"{folder}/{name}.part", "w", encoding="utf-8") as lines:
        for text in texts:
            print(text, file=lines)
    os.rename(f"{folder}/{name}.part", f"{folder}/{name}")
write("calibration.txt", [text for pair in pairs[:60] for text in (pair["pos"][0], pair["query"])])
write("rotation.txt", list(dict.fromkeys(pair["pos"][0] for pair in pairs[60:]))[:3000])
PYTHON

[[ -d $work/quantized ]] || "$llara" quantize --model "$work/tuned-more" --out "$work/quantized" --bits 4 --embedding-bits 8 \
  --group 32 --shard-mb 19 --texts "$work/calibration.txt"

[[ -d $work/llara-mini ]] || "$llara" rotate --model "$work/quantized" --out "$work/llara-mini" "$work/rotation.txt"

# What lies in llara-mini/src/main/resources/io/llara/mini/model.
(cd "$work/llara-mini" && "$python" -c '
import sys, zlib
for name in sys.argv[1:]:
    print("%08x  %s" % (zlib.crc32(open(name, "rb").read()), name))' *.json *.safetensors > CRC32SUMS)
for collection in ${EVALUATE-cranfield npl}; do
  "$llara" evaluate --model "$work/llara-mini" --beir "$data/beir/$collection" --no-cache --searcher exact,hybrid --bm25
done
