package io.llara.checkpoint.gguf;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.Checkpoints;
import io.llara.checkpoint.HalfFloats;
import io.llara.checkpoint.LlamaConfig;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * GGUF files of small models: one with a few byte-level tokens, and checkpoints turned into GGUF.
 */
final class GgufModels {
  static final int HIDDEN = 8;
  static final int HEADS = 2;
  static final int LAYERS = 2;
  static final int INNER = 12;

  /** Byte-level tokens for a few words; ids 0 to 2 are control tokens. */
  static final List<String> TOKENS =
      List.of(
          "<|bos|>",
          "<|eos|>",
          "<|unk|>",
          "a",
          "b",
          "c",
          "\u0120",
          "1",
          "2",
          "'",
          "s",
          "ab",
          "\u0120a",
          "\u0120ab",
          "12",
          "\u0120\u0120");

  static final List<String> MERGES =
      List.of("a b", "\u0120 a", "\u0120 ab", "1 2", "\u0120 \u0120");

  private GgufModels() {}

  /** Returns a model of two layers, hidden 8, with the tokens above; every key may be changed. */
  static GgufBuilder small() {
    GgufBuilder gguf = new GgufBuilder();
    keys(gguf, HIDDEN, INNER, LAYERS, HEADS, 1);
    vocabulary(gguf);
    weights(gguf, TOKENS.size(), LAYERS);
    return gguf;
  }

  private static void vocabulary(GgufBuilder gguf) {
    int[] types = new int[TOKENS.size()];
    Arrays.fill(types, 1);
    Arrays.fill(types, 0, 3, 3);
    gguf.put("tokenizer.ggml.model", "gpt2")
        .put("tokenizer.ggml.pre", "gpt-2")
        .put("tokenizer.ggml.tokens", TOKENS)
        .put("tokenizer.ggml.token_type", types)
        .put("tokenizer.ggml.merges", MERGES)
        .put("tokenizer.ggml.bos_token_id", 0)
        .put("tokenizer.ggml.eos_token_id", 1);
  }

  private static void keys(
      GgufBuilder gguf, int hidden, int inner, int layers, int heads, int kvHeads) {
    gguf.put("general.architecture", "llama")
        .put("llama.block_count", layers)
        .put("llama.context_length", 64)
        .put("llama.embedding_length", hidden)
        .put("llama.feed_forward_length", inner)
        .put("llama.attention.head_count", heads)
        .put("llama.attention.head_count_kv", kvHeads)
        .put("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  }

  private static void weights(GgufBuilder gguf, int tokens, int layers) {
    int keyWidth = HIDDEN / HEADS;
    add(gguf, "token_embd.weight", tokens, HIDDEN);
    for (int layer = 0; layer < layers; layer++) {
      String block = "blk." + layer + ".";
      add(gguf, block + "attn_norm.weight", HIDDEN);
      add(gguf, block + "attn_q.weight", HIDDEN, HIDDEN);
      add(gguf, block + "attn_k.weight", keyWidth, HIDDEN);
      add(gguf, block + "attn_v.weight", keyWidth, HIDDEN);
      add(gguf, block + "attn_output.weight", HIDDEN, HIDDEN);
      add(gguf, block + "ffn_norm.weight", HIDDEN);
      add(gguf, block + "ffn_gate.weight", INNER, HIDDEN);
      add(gguf, block + "ffn_up.weight", INNER, HIDDEN);
      add(gguf, block + "ffn_down.weight", HIDDEN, INNER);
    }
    add(gguf, "output_norm.weight", HIDDEN);
  }

  static void add(GgufBuilder gguf, String name, long... shape) {
    gguf.tensor(name, shape, Checkpoints.random(shape, name.hashCode()));
  }

  /**
   * Turns a checkpoint with a SentencePiece-like tokenizer into GGUF, weights in single precision.
   */
  static GgufBuilder of(Path checkpointDir) {
    return of(checkpointDir, name -> GgufType.F32);
  }

  /**
   * As {@link #of(Path)}, with matrices whose rows are whole blocks in other types.
   *
   * @param types F32, Q8_0 or Q4_0 for the name of a weight
   */
  static GgufBuilder of(Path checkpointDir, Function<String, GgufType> types) {
    CheckpointDirectory checkpoint = CheckpointDirectory.open(checkpointDir);
    LlamaConfig config = checkpoint.config();
    GgufBuilder gguf = new GgufBuilder();
    keys(
        gguf,
        config.hiddenSize(),
        config.intermediateSize(),
        config.layers(),
        config.heads(),
        config.kvHeads());
    gguf.put("llama.context_length", config.maxPositionEmbeddings())
        .put("llama.rope.dimension_count", config.headDim())
        .put("llama.rope.freq_base", (float) config.ropeTheta())
        .put("llama.attention.layer_norm_rms_epsilon", (float) config.rmsNormEps());
    sentencePiece(gguf, checkpointDir.resolve("tokenizer.json"));
    checkpoint
        .tensors()
        .forEach(
            (name, entry) -> {
              float[] values = entry.readFloats();
              boolean rotary = name.matches(".*[qk]_proj\\.(weight|bias)");
              float[] ordered =
                  rotary ? interleaved(values, entry.shape(), config.headDim()) : values;
              add(gguf, ggufName(name), types.apply(name), entry.shape(), ordered);
            });
    return gguf;
  }

  private static void add(
      GgufBuilder gguf, String name, GgufType type, long[] shape, float[] values) {
    boolean whole = shape.length == 2 && shape[1] % type.blockElements() == 0;
    if (type == GgufType.F32 || !whole) {
      gguf.tensor(name, shape, values);
    } else {
      gguf.tensor(name, shape, type.number(), quantized(type, values));
    }
  }

  /** Rounds weights to blocks of Q8_0 or Q4_0, the largest of a block to the end of the range. */
  static byte[] quantized(GgufType type, float[] values) {
    int elements = type.blockElements();
    ByteBuffer out =
        ByteBuffer.allocate(values.length / elements * type.blockBytes())
            .order(ByteOrder.LITTLE_ENDIAN);
    for (int begin = 0; begin < values.length; begin += elements) {
      float most = 0;
      for (int i = begin; i < begin + elements; i++) {
        most = Math.max(most, Math.abs(values[i]));
      }
      short half = HalfFloats.toF16(most / (type == GgufType.Q8_0 ? 127 : 7));
      float scale = HalfFloats.fromF16(half);
      out.putShort(half);
      if (type == GgufType.Q8_0) {
        for (int i = begin; i < begin + elements; i++) {
          out.put((byte) rounded(values[i], scale, 127));
        }
      } else {
        for (int i = begin; i < begin + elements / 2; i++) {
          int low = rounded(values[i], scale, 7) + 8;
          int high = rounded(values[i + elements / 2], scale, 7) + 8;
          out.put((byte) (low | high << 4));
        }
      }
    }
    return out.array();
  }

  private static int rounded(float value, float scale, int most) {
    return scale == 0 ? 0 : Math.max(-most, Math.min(most, Math.round(value / scale)));
  }

  /**
   * Puts the vocabulary of a tokenizer.json into the metadata, with scores that fall with the ids.
   */
  static void sentencePiece(GgufBuilder gguf, Path tokenizerJson) {
    Map<String, JsonElement> vocabulary = vocabulary(tokenizerJson);
    String[] tokens = new String[vocabulary.size()];
    vocabulary.forEach((token, id) -> tokens[id.getAsInt()] = token);
    float[] scores = new float[tokens.length];
    int[] types = new int[tokens.length];
    for (int id = 0; id < tokens.length; id++) {
      boolean isByte = tokens[id].matches("<0x[0-9A-F]{2}>");
      types[id] = id == 0 ? 2 : id < 3 ? 3 : isByte ? 6 : 1;
      // LLaMA 2 gives all runs of spaces one score, the lowest.
      boolean spaces = tokens[id].matches("\u2581{2,}");
      scores[id] = types[id] != 1 ? 0 : spaces ? -1e9f : -id;
    }
    gguf.put("tokenizer.ggml.model", "llama")
        .put("tokenizer.ggml.tokens", List.of(tokens))
        .put("tokenizer.ggml.scores", scores)
        .put("tokenizer.ggml.token_type", types)
        .put("tokenizer.ggml.bos_token_id", 1)
        .put("tokenizer.ggml.eos_token_id", 2);
  }

  private static Map<String, JsonElement> vocabulary(Path tokenizerJson) {
    try {
      JsonObject json = JsonParser.parseString(Files.readString(tokenizerJson)).getAsJsonObject();
      return json.getAsJsonObject("model").getAsJsonObject("vocab").asMap();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String ggufName(String name) {
    return name.replace("embed_tokens.", "token_embd.")
        .replace("lm_head.", "output.")
        .replace("layers.", "blk.")
        .replace("input_layernorm", "attn_norm")
        .replace("post_attention_layernorm", "ffn_norm")
        .replace("self_attn.q_proj", "attn_q")
        .replace("self_attn.k_proj", "attn_k")
        .replace("self_attn.v_proj", "attn_v")
        .replace("self_attn.o_proj", "attn_output")
        .replace("mlp.gate_proj", "ffn_gate")
        .replace("mlp.up_proj", "ffn_up")
        .replace("mlp.down_proj", "ffn_down")
        .replaceFirst("^norm\\.", "output_norm.");
  }

  /** Puts the two rows that are turned together side by side, head by head, as GGUF has them. */
  static float[] interleaved(float[] values, long[] shape, int headDim) {
    int columns = shape.length == 1 ? 1 : (int) shape[1];
    float[] mixed = new float[values.length];
    int to = 0;
    for (int head = 0; head < shape[0] / headDim; head++) {
      for (int pair = 0; pair < headDim / 2; pair++) {
        for (int half = 0; half < 2; half++) {
          int row = head * headDim + half * headDim / 2 + pair;
          System.arraycopy(values, row * columns, mixed, to, columns);
          to += columns;
        }
      }
    }
    return mixed;
  }
}
