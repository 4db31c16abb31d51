package io.llara.checkpoint.gguf;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.Checkpoints;
import io.llara.checkpoint.HalfFloats;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.RopeScaling;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.engine.EncodingEngine;
import io.llara.engine.EngineBuilder;
import io.llara.prompt.Prompt;
import io.llara.testing.Stories;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class GgufImporterTest {
  @TempDir Path dir;

  private Path file() {
    return dir.resolve("model.gguf");
  }

  private Path out() {
    return dir.resolve("out");
  }

  private CheckpointDirectory imported(GgufBuilder gguf) {
    GgufImporter.builder(gguf.write(file())).build().write(out());
    return CheckpointDirectory.open(out());
  }

  private void assertRefused(GgufBuilder gguf, String... parts) {
    assertRefused(gguf, ModelLoadException.class, parts);
  }

  private void assertRefused(
      GgufBuilder gguf, Class<? extends LlaraException> kind, String... parts) {
    gguf.write(file());
    assertThatExceptionOfType(kind)
        .isThrownBy(() -> GgufImporter.builder(file()).build().write(out()))
        .withMessageStartingWith(file().toString())
        .satisfies(e -> assertThat(e.getMessage()).contains(parts));
    assertThat(out()).doesNotExist();
    assertNothingElse();
  }

  /** Nothing but the file and what was asked for may lie in the folder. */
  private void assertNothingElse() {
    try (Stream<Path> files = Files.list(dir)) {
      assertThat(files.map(path -> path.getFileName().toString()))
          .isSubsetOf("model.gguf", "out", "taken");
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void aRealModelComesBackAsItWas() {
    CheckpointDirectory original = CheckpointDirectory.open(Stories.dir());
    CheckpointDirectory imported = imported(GgufModels.of(Stories.dir()));
    assertThat(imported.config()).isEqualTo(original.config());
    assertThat(imported.tensors().keySet())
        .containsExactlyInAnyOrderElementsOf(original.tensors().keySet());
    original
        .tensors()
        .forEach(
            (name, entry) ->
                assertThat(imported.tensor(name).readFloats())
                    .as(name)
                    .isEqualTo(entry.readFloats()));
    assertThat(out()).isDirectoryContaining("glob:**/special_tokens_map.json");
    assertNothingElse();
  }

  @Test
  void itsTokenizerGivesTheSameIds() {
    imported(GgufModels.of(Stories.dir()));
    try (Tokenizer original = Tokenizer.load(Stories.dir());
        Tokenizer imported = Tokenizer.load(out())) {
      assertThat(imported.bosIds()).isEqualTo(original.bosIds());
      assertThat(imported.eosToken()).contains("</s>");
      assertThat(imported.unkId()).isEqualTo(original.unkId());
      for (String text :
          List.of(
              "Once upon a time, there was a little dog named Max.",
              "  two  spaces\tand\na line  ",
              "日本語 🦙 é",
              "</s> is text",
              "aaaaaaaaaaaaaaaaa          aaaaa",
              "")) {
        assertThat(imported.encodeText(text)).as(text).isEqualTo(original.encodeText(text));
        assertThat(imported.decode(imported.encodeText(text))).isEqualTo(text);
      }
    }
  }

  @Test
  void theFirstLayersAreThoseOfTheWhole() {
    GgufBuilder gguf = GgufModels.of(Stories.dir());
    imported(gguf);
    GgufImporter two = GgufImporter.builder(file()).layers(2).build();
    assertThat(two.layersInFile()).isEqualTo(5);
    Path first = dir.resolve("taken");
    two.write(first);
    CheckpointDirectory whole = CheckpointDirectory.open(out());
    CheckpointDirectory part = CheckpointDirectory.open(first);
    assertThat(part.config().layers()).isEqualTo(2);
    assertThat(part.tensors()).hasSize(2 * 9 + 2);
    part.tensors()
        .forEach(
            (name, entry) ->
                assertThat(entry.readFloats()).isEqualTo(whole.tensor(name).readFloats()));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> GgufImporter.builder(file()).layers(6).build())
        .withMessage("layers is 6; %s has 5", file());
    assertThatIllegalArgumentException().isThrownBy(() -> GgufImporter.builder(file()).layers(0));
  }

  @Test
  void theWholeModelComputesTheSame() {
    imported(GgufModels.of(Stories.dir()));
    Prompt prompt = Prompt.plain(new int[] {1, 403, 407, 261, 378, 510});
    EngineBuilder options = EncodingEngine.builder().computeType(ComputeType.FLOAT32).threads(1);
    float[][] states = new float[2][];
    for (int i = 0; i < 2; i++) {
      Path model = i == 0 ? Stories.dir() : out();
      try (EncodingEngine engine = options.open(CheckpointDirectory.open(model))) {
        states[i] = engine.hiddenStates(List.of(prompt)).get(0);
      }
    }
    assertThat(states[1]).isEqualTo(states[0]);
  }

  @ParameterizedTest
  @EnumSource(GgufType.class)
  void everyTypeIsDecodedRowByRow(GgufType type) {
    int columns = type.blockElements() == 1 ? GgufModels.HIDDEN : type.blockElements();
    GgufBuilder gguf = wide(columns);
    int rows = columns;
    Random random = new Random(type.ordinal());
    byte[] bytes = new byte[rows * columns / type.blockElements() * type.blockBytes()];
    random.nextBytes(bytes);
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    // Scales, or the values themselves, that are numbers.
    for (int at = 0; at < bytes.length; at += type.blockBytes()) {
      switch (type) {
        case F32 -> buffer.putFloat(at, random.nextFloat());
        case F16 -> buffer.putShort(at, HalfFloats.toF16(random.nextFloat()));
        case BF16 -> buffer.putShort(at, HalfFloats.toBf16(random.nextFloat()));
        case Q6_K -> buffer.putShort(at + 208, HalfFloats.toF16(random.nextFloat()));
        default -> {
          buffer.putShort(at, HalfFloats.toF16(random.nextFloat()));
          buffer.putShort(at + 2, HalfFloats.toF16(random.nextFloat()));
        }
      }
    }
    float[] values = new float[rows * columns];
    for (int block = 0; block < values.length / type.blockElements(); block++) {
      type.decode(buffer, block * type.blockBytes(), values, block * type.blockElements());
    }
    long[] shape = {rows, columns};
    for (String name : List.of("attn_q", "attn_output")) {
      gguf.removeTensor("blk.0." + name + ".weight")
          .tensor("blk.0." + name + ".weight", shape, type.number(), bytes);
    }
    gguf.write(file());
    GgufImporter.Builder builder = GgufImporter.builder(file());
    (type.bits() == 0 ? builder : builder.weightType(StorageType.F32)).build().write(out());
    CheckpointDirectory imported = CheckpointDirectory.open(out());
    TensorEntry plain = imported.tensor("layers.0.self_attn.o_proj.weight");
    assertThat(plain.type()).isEqualTo(type.storage());
    assertThat(plain.readFloats()).isEqualTo(values);
    // What was interleaved again is what was in the file.
    float[] turned = imported.tensor("layers.0.self_attn.q_proj.weight").readFloats();
    assertThat(GgufModels.interleaved(turned, shape, columns / GgufModels.HEADS)).isEqualTo(values);
  }

  /** One layer of this hidden and inner size. */
  private static GgufBuilder wide(int hidden) {
    GgufBuilder gguf = GgufModels.small();
    for (int layer = 0; layer < GgufModels.LAYERS; layer++) {
      for (String name :
          List.of(
              "attn_norm",
              "attn_q",
              "attn_k",
              "attn_v",
              "attn_output",
              "ffn_norm",
              "ffn_gate",
              "ffn_up",
              "ffn_down")) {
        gguf.removeTensor("blk." + layer + "." + name + ".weight");
      }
    }
    gguf.removeTensor("token_embd.weight").removeTensor("output_norm.weight");
    gguf.put("llama.block_count", 1)
        .put("llama.embedding_length", hidden)
        .put("llama.feed_forward_length", hidden)
        .put("llama.attention.head_count_kv", null);
    GgufModels.add(gguf, "token_embd.weight", GgufModels.TOKENS.size(), hidden);
    GgufModels.add(gguf, "output_norm.weight", hidden);
    for (String name : List.of("attn_norm", "ffn_norm")) {
      GgufModels.add(gguf, "blk.0." + name + ".weight", hidden);
    }
    for (String name :
        List.of("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")) {
      GgufModels.add(gguf, "blk.0." + name + ".weight", hidden, hidden);
    }
    return gguf;
  }

  @Test
  void theTypeOfTheWeightsCanBeChosen() throws IOException {
    GgufModels.small().write(file());
    for (StorageType type : List.of(StorageType.F32, StorageType.F16, StorageType.BF16)) {
      Path target = dir.resolve("taken");
      GgufImporter importer = GgufImporter.builder(file()).weightType(type).build();
      importer.write(target);
      CheckpointDirectory imported = CheckpointDirectory.open(target);
      assertThat(imported.tensors().values()).allMatch(entry -> entry.type() == type);
      assertThat(imported.config().torchDtype())
          .contains(
              type == StorageType.F32
                  ? "float32"
                  : type == StorageType.F16 ? "float16" : "bfloat16");
      for (Path file : Files.list(target).toList()) {
        Files.delete(file);
      }
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> GgufImporter.builder(file()).weightType(StorageType.I8));
  }

  @Test
  void theOutputProjectionIsKeptWhereThereIsOne() {
    assertThat(imported(GgufModels.small()).config().tieWordEmbeddings()).isTrue();
    remove(out());
    GgufBuilder gguf = GgufModels.small();
    GgufModels.add(gguf, "output.weight", GgufModels.TOKENS.size(), GgufModels.HIDDEN);
    CheckpointDirectory imported = imported(gguf);
    assertThat(imported.config().tieWordEmbeddings()).isFalse();
    assertThat(imported.tensors()).containsKey(LlamaTensors.HEAD);
  }

  @Test
  void biasesOfAttentionAreTakenAlong() {
    GgufBuilder gguf = GgufModels.small();
    int keyWidth = GgufModels.HIDDEN / GgufModels.HEADS;
    for (int layer = 0; layer < GgufModels.LAYERS; layer++) {
      String block = "blk." + layer + ".attn_";
      GgufModels.add(gguf, block + "q.bias", GgufModels.HIDDEN);
      GgufModels.add(gguf, block + "k.bias", keyWidth);
      GgufModels.add(gguf, block + "v.bias", keyWidth);
      GgufModels.add(gguf, block + "output.bias", GgufModels.HIDDEN);
    }
    CheckpointDirectory imported = imported(gguf);
    assertThat(imported.config().attentionBias()).isTrue();
    float[] turned = imported.tensor("layers.1.self_attn.q_proj.bias").readFloats();
    float[] expected =
        Checkpoints.random(new long[] {GgufModels.HIDDEN}, "blk.1.attn_q.bias".hashCode());
    assertThat(
            GgufModels.interleaved(
                turned, new long[] {GgufModels.HIDDEN}, GgufModels.HIDDEN / GgufModels.HEADS))
        .isEqualTo(expected);
    assertThat(turned).isNotEqualTo(expected);
    remove(out());
    assertRefused(
        gguf.removeTensor("blk.1.attn_output.bias"), "tensor 'blk.1.attn_output.bias' is missing");
  }

  @Test
  void theConfigurationSaysWhatTheMetadataSay() throws IOException {
    GgufBuilder gguf =
        GgufModels.small()
            .put("llama.rope.freq_base", 500000f)
            .put("llama.rope.scaling.type", "linear")
            .put("llama.rope.scaling.factor", 4f)
            .put("llama.attention.key_length", 4)
            .put("llama.attention.value_length", 4)
            .put("llama.rope.dimension_count", 4)
            .put("llama.expert_count", 0)
            .put("tokenizer.ggml.padding_token_id", 1)
            .put("tokenizer.chat_template", "{{ messages }} 'é'");
    LlamaConfig config = imported(gguf).config();
    assertThat(config.ropeTheta()).isEqualTo(500000);
    assertThat(config.ropeScaling()).isEqualTo(new RopeScaling.Linear(4));
    assertThat(config.rmsNormEps()).isEqualTo(1e-5);
    assertThat(config.maxPositionEmbeddings()).isEqualTo(64);
    assertThat(config.bosTokenId()).hasValue(0);
    assertThat(config.eosTokenIds()).containsExactly(1);
    assertThat(config.vocabularySize()).isEqualTo(GgufModels.TOKENS.size());
    assertThat(json("config.json").get("pad_token_id").getAsInt()).isEqualTo(1);
    assertThat(json("tokenizer_config.json").get("chat_template").getAsString())
        .isEqualTo("{{ messages }} 'é'");
    assertThat(json("special_tokens_map.json").get("eos_token").getAsString()).isEqualTo("<|eos|>");
  }

  private JsonObject json(String name) throws IOException {
    return JsonParser.parseString(Files.readString(out().resolve(name))).getAsJsonObject();
  }

  @Test
  void theOldKeyOfLinearScalingIsReadToo() {
    assertThat(
            imported(GgufModels.small().put("llama.rope.scale_linear", 2f)).config().ropeScaling())
        .isEqualTo(new RopeScaling.Linear(2));
  }

  @Test
  void aSlidingWindowMakesAMistral() {
    LlamaConfig config =
        imported(GgufModels.small().put("llama.attention.sliding_window", 32)).config();
    assertThat(config.architecture()).isEqualTo("MistralForCausalLM");
    assertThat(config.slidingWindow()).hasValue(32);
  }

  @ParameterizedTest
  @CsvSource({"8, 500000, 128", "32, 500000, 64"})
  void rotaryFactorsOfLlama3AreRecognised(float factor, float base, int headDim) {
    GgufBuilder gguf = wide(headDim * GgufModels.HEADS).put("llama.rope.freq_base", base);
    float[] factors = new float[headDim / 2];
    for (int i = 0; i < factors.length; i++) {
      factors[i] = llama3Factor(2 * Math.PI * Math.pow(base, 2.0 * i / headDim), factor);
    }
    gguf.tensor("rope_freqs.weight", new long[] {factors.length}, factors);
    assertThat(imported(gguf).config().ropeScaling())
        .isEqualTo(new RopeScaling.Llama3(factor, 1, 4, 8192));
    remove(out());
    factors[factors.length / 2] *= 1.001f;
    gguf.removeTensor("rope_freqs.weight")
        .tensor("rope_freqs.weight", new long[] {factors.length}, factors);
    assertRefused(gguf, UnsupportedModelException.class, "rope_freqs.weight", "unknown kind");
    Arrays.fill(factors, 1);
    gguf.removeTensor("rope_freqs.weight")
        .tensor("rope_freqs.weight", new long[] {factors.length}, factors);
    assertThat(imported(gguf).config().ropeScaling()).isEqualTo(RopeScaling.none());
  }

  /** As the transformers library computes it (modeling_rope_utils), the other way round. */
  private static float llama3Factor(double wavelength, double factor) {
    double low = 8192.0 / 1;
    double high = 8192.0 / 4;
    if (wavelength < high) {
      return 1;
    }
    if (wavelength > low) {
      return (float) factor;
    }
    double smooth = (8192 / wavelength - 1) / (4 - 1);
    return (float) (1 / ((1 - smooth) / factor + smooth));
  }

  @Test
  void refusesWhatTheForwardPassDoesNotDo() {
    Map<String, Object> keys =
        Map.of(
            "general.architecture",
            "qwen2",
            "general.type",
            "adapter",
            "split.count",
            3,
            "llama.expert_count",
            8,
            "llama.use_parallel_residual",
            true,
            "llama.attention.causal",
            false,
            "llama.rope.scaling.type",
            "yarn",
            "llama.rope.dimension_count",
            2,
            "llama.attention.value_length",
            2);
    keys.forEach(
        (key, value) ->
            assertRefused(
                GgufModels.small().put(key, value),
                UnsupportedModelException.class,
                "'" + key + "'",
                "not supported"));
    GgufBuilder experts = GgufModels.small();
    GgufModels.add(experts, "blk.0.ffn_gate_inp.weight", 4, 8);
    assertRefused(
        experts, UnsupportedModelException.class, "'blk.0.ffn_gate_inp.weight' has no place");
    GgufBuilder deeper = GgufModels.small();
    GgufModels.add(deeper, "blk.2.attn_norm.weight", 8);
    assertRefused(deeper, UnsupportedModelException.class, "LLaMA of 2 layers");
    assertRefused(
        GgufModels.small()
            .put("llama.rope.scaling.type", "linear")
            .put("llama.rope.scaling.factor", 2f)
            .tensor("rope_freqs.weight", new long[] {2}, new float[2]),
        UnsupportedModelException.class,
        "one of them");
  }

  @Test
  void refusesMetadataThatMakeNoModel() {
    for (String key :
        List.of(
            "general.architecture",
            "llama.block_count",
            "llama.context_length",
            "llama.embedding_length",
            "llama.feed_forward_length",
            "llama.attention.head_count",
            "llama.attention.layer_norm_rms_epsilon")) {
      assertRefused(GgufModels.small().put(key, null), "'" + key + "' is missing");
    }
    assertRefused(GgufModels.small().put("llama.block_count", 0), "num_hidden_layers is 0");
    assertRefused(GgufModels.small().put("llama.block_count", 1 << 30), "num_hidden_layers is");
    assertRefused(GgufModels.small().put("llama.attention.head_count", 3), "hidden_size is 8");
    assertRefused(
        GgufModels.small().put("llama.attention.head_count", new int[] {2, 2}),
        "is a list; expected a whole number");
    assertRefused(
        GgufModels.small().put("llama.attention.layer_norm_rms_epsilon", Float.NaN), "NaN");
    assertRefused(GgufModels.small().put("llama.rope.freq_base", -1f), "rope_theta is -1.0");
    assertRefused(
        GgufModels.small().put("llama.rope.scaling.type", "linear"), "factor' is missing");
  }

  @Test
  void refusesTensorsThatDoNotFitTheMetadata() {
    assertRefused(
        GgufModels.small().removeTensor("blk.1.ffn_up.weight"),
        "tensor 'blk.1.ffn_up.weight' is missing",
        "[12, 8]");
    GgufBuilder gguf = GgufModels.small().removeTensor("token_embd.weight");
    GgufModels.add(gguf, "token_embd.weight", 15, 8);
    assertRefused(gguf, "'token_embd.weight' has shape [15, 8]", "[16, 8]");
    assertRefused(
        GgufModels.small().tensor("rope_freqs.weight", new long[] {3}, new float[3]),
        "rope_freqs.weight",
        "expected 2 values");
    assertRefused(
        GgufModels.small().removeTensor("output_norm.weight"),
        "tensor 'output_norm.weight' is missing");
    assertRefused(new GgufBuilder().put("general.architecture", "llama"), "tokenizer.ggml.model");
  }

  @ParameterizedTest
  @CsvSource({"NaN", "Infinity", "-Infinity"})
  void refusesWeightsThatAreNoNumbers(float value) {
    GgufBuilder gguf = GgufModels.small().removeTensor("blk.1.ffn_norm.weight");
    gguf.tensor("blk.1.ffn_norm.weight", new long[] {8}, new float[] {1, 1, 1, 1, 1, 1, 1, value});
    assertRefused(gguf, "'blk.1.ffn_norm.weight' has the value " + value, "damaged");
  }

  @Test
  void refusesWeightsThatDoNotFitTheChosenType() {
    GgufBuilder gguf = GgufModels.small().removeTensor("blk.1.ffn_norm.weight");
    gguf.tensor(
        "blk.1.ffn_norm.weight", new long[] {8}, new float[] {65519, 1, 1, 1, 1, 1, 1, 65520});
    gguf.write(file());
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(
            () -> GgufImporter.builder(file()).weightType(StorageType.F16).build().write(out()))
        .withMessageContaining("has the value 65520.0; F16 reaches to 65504 only");
    assertThat(out()).doesNotExist();
    assertNothingElse();
  }

  @Test
  void anExistingDirectoryIsKept() throws IOException {
    GgufModels.small().write(file());
    GgufImporter importer = GgufImporter.builder(file()).build();
    Files.createDirectory(out());
    importer.write(out());
    assertThat(CheckpointDirectory.open(out()).config().layers()).isEqualTo(2);
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> importer.write(out()))
        .withMessage("%s: is not empty; nothing is written over: choose a new directory", out());
    Path taken = Files.writeString(dir.resolve("taken"), "mine");
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> importer.write(taken))
        .withMessageContaining("is a file");
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> importer.write(taken.resolve("below")))
        .withMessageContaining("cannot be written");
    assertThat(taken).hasContent("mine");
    assertNothingElse();
  }

  @Test
  void missingFoldersAreMadeAndLinksFollowed() throws IOException {
    GgufModels.small().write(file());
    GgufImporter importer = GgufImporter.builder(file()).build();
    importer.write(out().resolve("a/b"));
    assertThat(CheckpointDirectory.open(out().resolve("a/b")).tensors()).isNotEmpty();
    Path real = Files.createDirectory(out().resolve("real"));
    Path link = Files.createSymbolicLink(out().resolve("link"), real);
    importer.write(link);
    assertThat(Files.isSymbolicLink(link)).isTrue();
    assertThat(real.resolve("config.json")).exists();
  }

  @Test
  void progressIsToldTensorByTensor() {
    GgufModels.small().write(file());
    List<String> told = new ArrayList<>();
    GgufImporter.builder(file())
        .build()
        .write(out(), (done, total) -> told.add(done + "/" + total));
    assertThat(told).hasSize(20).startsWith("1/20").endsWith("20/20");
  }

  @Test
  void aListenerThatFailsLeavesNothing() {
    GgufModels.small().write(file());
    GgufImporter importer = GgufImporter.builder(file()).build();
    assertThatExceptionOfType(IllegalStateException.class)
        .isThrownBy(
            () ->
                importer.write(
                    out(),
                    (done, total) -> {
                      throw new IllegalStateException("enough");
                    }))
        .withMessage("enough");
    assertThat(out()).doesNotExist();
    assertNothingElse();
  }

  private static void remove(Path directory) {
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
      Files.delete(directory);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }
}
