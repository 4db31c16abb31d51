#!/usr/bin/env bash
# Trains a small LLaMA from scratch on the Wikipedia sample and adapts it: what docs/adaptation.md reports. About an
# hour on two cores that multiply bfloat16. Every step goes on where it was when the script is run again; STEPS=N
# sets the steps of the adaptations.
#
#   adapt-from-scratch.sh SHARED_DATA WORK_FOLDER
set -euo pipefail
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
llara=$here/llara-examples/target/llara/bin/llara
wikipedia=$data/text/wikipedia-en-sample.jsonl.gz

cat > "$work/config.json" <<'JSON'
{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "torch_dtype": "float32",
  "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 4,
  "num_key_value_heads": 4, "vocab_size": 8000, "max_position_embeddings": 512, "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.02, "bos_token_id": 1, "eos_token_id": 2
}
JSON

# The base model: next tokens only.
[[ -d $work/init ]] || "$llara" init --config "$work/config.json" --tokenizer "$data/tokenizers/llama2" --vocab 8000 --out "$work/init"
"$llara" pretrain --model "$work/init" --data "$wikipedia" --out "$work/base" --recipe lm \
  --steps 1000 --batch 32 --max-tokens 128 --lr 2e-3 --warmup 50 --hold-out 0.02
[[ -d $work/marked ]] || "$llara" add-markers --model "$work/base" --out "$work/marked"

# Adaptation, as it is meant and with SELF visible to NEXT.
adapt() {
  "$llara" pretrain --model "$work/marked" --data "$wikipedia" --full --batch 32 --max-tokens 160 --lr 2e-3 --warmup 50 \
    --loss-weights 1,10,10 --hold-out 0.02 --evaluate-every 50 "$@"
}
adapt --out "$work/adapted" --steps "${STEPS:-700}"
adapt --out "$work/visible" --steps "${STEPS:-700}" --visible-self
# What the model that saw SELF is worth as an encoder, which never does: its losses before a first, tiny step.
"$llara" pretrain --model "$work/visible" --data "$wikipedia" --full --batch 32 --max-tokens 160 --lr 1e-12 \
  --loss-weights 1,10,10 --hold-out 0.02 --steps 1 --out "$work/visible-as-encoder"

java -Xmx2g -cp "$here/benchmarks/target/benchmarks.jar" io.llara.benchmarks.adapted.UnigramBaseline \
  "$work/marked" 160 0.02 "$wikipedia"
java -Xmx2g -cp "$here/benchmarks/target/benchmarks.jar" io.llara.benchmarks.adapted.PredictedTokens \
  "The llama is a South American animal with soft wool, kept by farmers in the mountains.;In 1969 the first people walked on the moon, and millions watched it on television.;The bank raised its interest rates to slow inflation." \
  "$work/marked" "$work/adapted"
