package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImportCommandTest {
  private static final List<String> TOKENS = List.of("<s>", "</s>", "a", "b", "ab");
  private static final int HIDDEN = 4;

  @TempDir Path dir;

  private String file;
  private String out;

  @BeforeEach
  void writeModel() throws IOException {
    file = Files.write(dir.resolve("model.gguf"), model(true)).toString();
    out = dir.resolve("out").toString();
  }

  /** A GGUF file of two layers, all weights 0.5, with a byte-level vocabulary of five tokens. */
  private static byte[] model(boolean naming) {
    ByteBuffer gguf = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);
    Map<String, Integer> numbers = new LinkedHashMap<>();
    numbers.put("llama.block_count", 2);
    numbers.put("llama.context_length", 16);
    numbers.put("llama.embedding_length", HIDDEN);
    numbers.put("llama.feed_forward_length", HIDDEN);
    numbers.put("llama.attention.head_count", 2);
    numbers.put("tokenizer.ggml.bos_token_id", 0);
    numbers.put("tokenizer.ggml.eos_token_id", 1);
    Map<String, long[]> tensors = new LinkedHashMap<>();
    tensors.put("token_embd.weight", new long[] {HIDDEN, TOKENS.size()});
    tensors.put("output_norm.weight", new long[] {HIDDEN});
    for (String block : List.of("blk.0.", "blk.1.")) {
      for (String norm : List.of("attn_norm", "ffn_norm")) {
        tensors.put(block + norm + ".weight", new long[] {HIDDEN});
      }
      for (String matrix :
          List.of("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")) {
        tensors.put(block + matrix + ".weight", new long[] {HIDDEN, HIDDEN});
      }
    }
    gguf.put("GGUF".getBytes(StandardCharsets.US_ASCII)).putInt(3);
    gguf.putLong(tensors.size()).putLong(numbers.size() + (naming ? 6 : 5));
    numbers.forEach((key, number) -> string(gguf, key).putInt(4).putInt(number));
    string(gguf, "llama.attention.layer_norm_rms_epsilon").putInt(6).putFloat(1e-5f);
    string(string(gguf, "general.architecture").putInt(8), "llama");
    string(string(gguf, "tokenizer.ggml.model").putInt(8), "gpt2");
    if (naming) {
      string(string(gguf, "tokenizer.ggml.pre").putInt(8), "gpt-2");
    }
    strings(string(gguf, "tokenizer.ggml.tokens"), TOKENS);
    strings(string(gguf, "tokenizer.ggml.merges"), List.of("a b"));
    long offset = 0;
    for (Map.Entry<String, long[]> tensor : tensors.entrySet()) {
      string(gguf, tensor.getKey()).putInt(tensor.getValue().length);
      for (long size : tensor.getValue()) {
        gguf.putLong(size);
      }
      gguf.putInt(0).putLong(offset);
      offset += 96;
    }
    gguf.position((gguf.position() + 31) / 32 * 32);
    for (int i = 0; i < offset / 4; i++) {
      gguf.putFloat(0.5f);
    }
    return Arrays.copyOf(gguf.array(), gguf.position());
  }

  private static ByteBuffer string(ByteBuffer gguf, String text) {
    byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
    return gguf.putLong(encoded.length).put(encoded);
  }

  private static void strings(ByteBuffer gguf, List<String> strings) {
    gguf.putInt(9).putInt(8).putLong(strings.size());
    strings.forEach(text -> string(gguf, text));
  }

  @Test
  void importsAModelThatOtherCommandsTake() {
    CommandRun run = CommandRun.of("import", file, out);
    assertThat(run.code()).isZero();
    assertThat(run.err()).contains("token_type' is missing");
    assertThat(run.out())
        .isEqualTo(
            out + ": 2 of 2 layers, hidden 4, 5 tokens (gpt2), float32, 0.0 MB of weights\n");
    CommandRun encode =
        CommandRun.withInput(
            "ab a\n", "encode", "--model", out, "--mode", "self", "--template", "llara-paper", "-");
    assertThat(encode.err()).isEmpty();
    assertThat(encode.code()).isZero();
    assertThat(encode.lines()).hasSize(1);
  }

  @Test
  void takesTheFirstLayersInAnotherType() throws IOException {
    CommandRun run = CommandRun.of("import", file, out, "--layers", "1", "--dtype", "bfloat16");
    assertThat(run.code()).isZero();
    assertThat(run.out()).contains("1 of 2 layers").contains("bfloat16");
    assertThat(Files.readString(dir.resolve("out").resolve("config.json")))
        .contains("\"num_hidden_layers\": 1", "\"torch_dtype\": \"bfloat16\"");
  }

  @Test
  void saysWhatItHadToGuess() throws IOException {
    Files.write(Path.of(file), model(false));
    CommandRun run = CommandRun.of("import", file, out);
    assertThat(run.code()).isZero();
    assertThat(run.err()).startsWith("llara: metadata key 'tokenizer.ggml.pre' is missing");
  }

  @Test
  void showsProgressWhereItIsWanted() {
    assertThat(CommandRun.of("import", file, out, "--progress").err()).contains("importing");
  }

  @Test
  void refusesBadInputInOneLine() throws IOException {
    LlaraTest.assertRefused(CommandRun.of("import", file), "DIR");
    LlaraTest.assertRefused(CommandRun.of("import", "none.gguf", out), "none.gguf");
    LlaraTest.assertRefused(CommandRun.of("import", file, out, "--layers", "3"), "layers is 3");
    LlaraTest.assertRefused(CommandRun.of("import", file, out, "--layers", "0"), "layers is 0");
    LlaraTest.assertRefused(CommandRun.of("import", file, out, "--dtype", "int4"), "--dtype");
    LlaraTest.assertRefused(CommandRun.of("import", file, file), "is a file");
    byte[] bytes = Files.readAllBytes(Path.of(file));
    Files.write(Path.of(file), Arrays.copyOf(bytes, bytes.length / 2));
    LlaraTest.assertRefused(CommandRun.of("import", file, out), "truncated or damaged");
    assertThat(Path.of(out)).doesNotExist();
  }
}
