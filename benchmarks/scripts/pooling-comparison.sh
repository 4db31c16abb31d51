#!/usr/bin/env bash
# Which hidden states should an embedding be made of? One model, fine-tuned with the same pairs, steps and seed for each way: the
# mean of eight markers, the last token (one marker), and the mean of the text's own tokens. In-batch negatives alone. Every
# stage is kept and goes on where it was when the script is run again.
#
#   pooling-comparison.sh SHARED_DATA WORK_FOLDER START…
#
# WORK_FOLDER is that of adaptation-claim.sh, which makes the models to start with: imported and adapted. STEPS
# (40), BATCH (64), SEED (1), COLLECTIONS ("cranfield npl medquad"), TYPE and LLARA as there.
set -euo pipefail
data=$(cd "$1" && pwd)
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
llara=${LLARA:-$here/llara-examples/target/llara/bin/llara}
steps=${STEPS:-40}
seed=${SEED:-1}
export LLARA_JVM_OPTS=${LLARA_JVM_OPTS:--Xmx4g}

mkdir -p "$work/pooling"
python3 - "$work/pooling" <<'PYTHON'
import json, sys
def template(name, pooling, self, next):
    sides = [{"prefix": [{"text": before}], "suffix": [{"token": f"<s{i}>"} for i in markers]} for before, markers in (self, next)]
    with open(f"{sys.argv[1]}/{name}.json", "w") as file:
        json.dump({"formatVersion": 1, "template": {"name": name, "pooling": pooling, "self": sides[0], "next": sides[1]},
                   "pooling": pooling, "normalize": True}, file)
template("markers", "mean_of_markers", ('"', range(1, 9)), ('"', range(9, 17)))
template("last", "last_token", ('"', [1]), ('"', [9]))
template("mean", "mean_of_text", ("passage: ", []), ("query: ", []))
PYTHON

pairs=()
for file in "$data"/pairs/*.jsonl.gz; do
  case $(basename "$file") in medquad.* | fetaqa-dev-test.* | aws-docs.*) ;; *) pairs+=("$file") ;; esac
done

for start in "${@:3}"; do [[ -d $work/$start ]] || { echo "no $work/$start" >&2; exit 1; }; done
for start in ${*:3}; do
  for pooling in markers mean last; do
    run=$work/pooling/$start-$pooling
    "$llara" finetune --model "$work/$start" --template "$work/pooling/$pooling.json" --pairs "${pairs[@]}" --out "$run" \
      --seed "$seed" --full --lr 1.5e-4 --batch "${BATCH:-64}" --negatives 0 --few-negatives repeat --query-tokens 48 \
      --passage-tokens 128 --skip-bad-lines --steps "$steps" --warmup $(((steps + 9) / 10)) --save-every 10
    for name in ${COLLECTIONS:-cranfield npl medquad}; do
      collection=$data/beir/$name
      [[ -d $collection ]] || collection=$work/sources/$name
      json=$run.$name.json
      [[ -f $json ]] || "$llara" evaluate --model "$run" --beir "$collection" --max-tokens 128 --no-cache \
        --dtype "${TYPE:-auto}" --json "$json"
      python3 -c '
import json, sys
metrics = json.load(open(sys.argv[3]))["runs"][0]["metrics"]
print("%s %s: nDCG@10 %.4f, Recall@100 %.4f" % (*sys.argv[1:3], metrics["ndcg@10"], metrics["recall@100"]))' \
        "$start-$pooling" "$name" "$json"
    done
    rm -rf "$run/checkpoints"
  done
done
