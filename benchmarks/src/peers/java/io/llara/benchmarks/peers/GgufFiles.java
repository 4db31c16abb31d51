package io.llara.benchmarks.peers;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;

/** Makes GGUF files whose vocabulary is what matters. */
final class GgufFiles {
  private static final int ALIGNMENT = 32;
  private static final int UINT32 = 4;
  private static final int INT32 = 5;
  private static final int FLOAT32 = 6;
  private static final int STRING = 8;
  private static final int ARRAY = 9;

  private static final int NORMAL = 1;
  private static final int UNKNOWN = 2;
  private static final int CONTROL = 3;
  private static final int BYTE = 6;

  private static final int HIDDEN = 32;

  /** Enough for half a million tokens and their rows. */
  private final ByteBuffer bytes = ByteBuffer.allocate(1 << 27).order(ByteOrder.LITTLE_ENDIAN);

  private GgufFiles() {}

  /**
   * Copies a GGUF file and changes the name of its pre-tokenizer. Another text, the model's name,
   * is made longer so that the header grows by whole units of alignment and the data need not move.
   */
  static void withPreTokenizer(Path file, String name, Path copy) throws IOException {
    byte[] original = Files.readAllBytes(file);
    byte[] renamed = replaced(original, "tokenizer.ggml.pre", value -> name);
    int grown = Math.floorMod(original.length - renamed.length, ALIGNMENT);
    Files.write(copy, replaced(renamed, "general.name", value -> value + " ".repeat(grown)));
  }

  private static byte[] replaced(byte[] file, String key, UnaryOperator<String> change) {
    byte[] keyBytes = key.getBytes(StandardCharsets.UTF_8);
    ByteBuffer buffer = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    int at = 0;
    while (buffer.getLong(at) != keyBytes.length || !isAt(file, at + 8, keyBytes)) {
      at++;
    }
    int valueAt = at + 8 + keyBytes.length + 4;
    int length = (int) buffer.getLong(valueAt);
    byte[] value =
        change
            .apply(new String(file, valueAt + 8, length, StandardCharsets.UTF_8))
            .getBytes(StandardCharsets.UTF_8);
    int rest = valueAt + 8 + length;
    return ByteBuffer.allocate(file.length - length + value.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(file, 0, valueAt)
        .putLong(value.length)
        .put(value)
        .put(file, rest, file.length - rest)
        .array();
  }

  private static boolean isAt(byte[] file, int at, byte[] part) {
    return Arrays.equals(file, at, at + part.length, part, 0, part.length);
  }

  /**
   * Writes a GGUF file with the vocabulary of a SentencePiece-like tokenizer.json: one layer of
   * zeros, and scores that fall with the ids, as those of BPE vocabularies of SentencePiece do.
   */
  static void ofTokenizer(Path tokenizerJson, Path file) throws IOException {
    JsonObject json = JsonParser.parseString(Files.readString(tokenizerJson)).getAsJsonObject();
    Map<String, JsonElement> vocabulary =
        json.getAsJsonObject("model").getAsJsonObject("vocab").asMap();
    String[] tokens = new String[vocabulary.size()];
    vocabulary.forEach((token, id) -> tokens[id.getAsInt()] = token);
    Files.write(file, new GgufFiles().write(tokens));
  }

  private byte[] write(String[] tokens) {
    Map<String, long[]> tensors = new LinkedHashMap<>();
    tensors.put("token_embd.weight", new long[] {HIDDEN, tokens.length});
    tensors.put("output_norm.weight", new long[] {HIDDEN});
    for (String norm : new String[] {"attn_norm", "ffn_norm"}) {
      tensors.put("blk.0." + norm + ".weight", new long[] {HIDDEN});
    }
    for (String matrix :
        new String[] {
          "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"
        }) {
      tensors.put("blk.0." + matrix + ".weight", new long[] {HIDDEN, HIDDEN});
    }
    bytes.putInt('G' | 'G' << 8 | 'U' << 16 | 'F' << 24);
    bytes.putInt(3);
    bytes.putLong(tensors.size());
    bytes.putLong(13);
    text("general.architecture", "llama");
    number("llama.block_count", 1);
    number("llama.context_length", 128);
    number("llama.embedding_length", HIDDEN);
    number("llama.feed_forward_length", HIDDEN);
    number("llama.attention.head_count", 2);
    key("llama.attention.layer_norm_rms_epsilon", FLOAT32);
    bytes.putFloat(1e-5f);
    text("tokenizer.ggml.model", "llama");
    vocabulary(tokens);
    number("tokenizer.ggml.bos_token_id", 1);
    number("tokenizer.ggml.eos_token_id", 2);
    long offset = 0;
    for (Map.Entry<String, long[]> tensor : tensors.entrySet()) {
      string(tensor.getKey());
      bytes.putInt(tensor.getValue().length);
      long length = 4;
      for (long size : tensor.getValue()) {
        bytes.putLong(size);
        length *= size;
      }
      bytes.putInt(0);
      bytes.putLong(offset);
      offset += length;
    }
    int dataStart = bytes.position() + Math.floorMod(-bytes.position(), ALIGNMENT);
    return Arrays.copyOf(bytes.array(), dataStart + (int) offset);
  }

  private void vocabulary(String[] tokens) {
    array("tokenizer.ggml.tokens", STRING, tokens.length);
    for (String token : tokens) {
      string(token);
    }
    array("tokenizer.ggml.scores", FLOAT32, tokens.length);
    for (int id = 0; id < tokens.length; id++) {
      // LLaMA 2 and Mistral give all runs of spaces one score, the lowest.
      float score = tokens[id].matches("\u2581{2,}") ? -1e9f : -id;
      bytes.putFloat(type(id, tokens[id]) == NORMAL ? score : 0);
    }
    array("tokenizer.ggml.token_type", INT32, tokens.length);
    for (int id = 0; id < tokens.length; id++) {
      bytes.putInt(type(id, tokens[id]));
    }
  }

  private static int type(int id, String token) {
    if (id == 0) {
      return UNKNOWN;
    }
    return id <= 2 ? CONTROL : token.matches("<0x[0-9A-F]{2}>") ? BYTE : NORMAL;
  }

  private void key(String key, int type) {
    string(key);
    bytes.putInt(type);
  }

  private void text(String key, String value) {
    key(key, STRING);
    string(value);
  }

  private void number(String key, int value) {
    key(key, UINT32);
    bytes.putInt(value);
  }

  private void array(String key, int type, int count) {
    key(key, ARRAY);
    bytes.putInt(type);
    bytes.putLong(count);
  }

  private void string(String text) {
    byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
    bytes.putLong(encoded.length);
    bytes.put(encoded);
  }
}
