package io.llara.train.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.Quantization;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.engine.EncodingEngine;
import io.llara.kernels.FusedKernels;
import io.llara.kernels.NativeProjection;
import io.llara.prompt.PromptTemplate;
import io.llara.tensor.Cpu;
import io.llara.testing.MarkedStories;
import io.llara.testing.RandomCheckpoint;
import io.llara.testing.Stories;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ModelQuantizerTest {
  private static final long ONE_FILE = Long.MAX_VALUE / 2;
  private static final List<String> TEXTS =
      List.of("Lily went to the park.", "The dog was big and it barked all day long.", "Once");

  @TempDir private Path dir;

  private static Encoder encoder(Path model) {
    return Encoder.builder(model).computeType(ComputeType.FLOAT32).threads(1).build();
  }

  private static void assertClose(Path quantized, double cosine) {
    try (Encoder whole = encoder(Stories.dir());
        Encoder small = encoder(quantized)) {
      for (String text : TEXTS) {
        assertThat(Similarity.cosine(whole.encode(text, Mode.SELF), small.encode(text, Mode.SELF)))
            .isGreaterThan(cosine)
            .isLessThan(0.9999999);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"8, 32, 0.9995", "8, 0, 0.999", "4, 32, 0.97", "4, 0, 0.9"})
  void vectorsStayCloseToThoseOfTheWholeModel(int bits, int group, double cosine) {
    Path out = dir.resolve("quantized");
    ModelQuantizer.write(
        Stories.dir(), out, new Quantization(bits, bits, group), ONE_FILE, List.of());
    assertClose(out, cosine);
    assertThat(CheckpointDirectory.open(out).quantization())
        .contains(new Quantization(bits, bits, group));
  }

  /** Stored integers are taken as they are: what is new is the rounding of activations. */
  @ParameterizedTest
  @CsvSource({"8, 8, 32", "8, 8, 0", "4, 8, 32", "4, 4, 0", "4, 4, 16"})
  void quantisedModelsComputeInIntegers(int bits, int embeddingBits, int group) {
    assumeTrue(FusedKernels.instructions().isPresent(), "no kernels are compiled for this machine");
    Path out = dir.resolve("quantized");
    Quantization quantization = new Quantization(bits, embeddingBits, group);
    ModelQuantizer.write(Stories.dir(), out, quantization, ONE_FILE, List.of());
    try (Encoder floats = encoder(out);
        Encoder integers = Encoder.builder(out).computeType(ComputeType.INT8).threads(1).build()) {
      assertThat(integers.computeType()).isEqualTo(ComputeType.INT8);
      for (String text : TEXTS) {
        for (Mode mode : Mode.values()) {
          assertThat(Similarity.cosine(floats.encode(text, mode), integers.encode(text, mode)))
              .isGreaterThan(0.999);
        }
      }
    }
  }

  @Test
  void whatIsStoredInIntegersIsComputedInThemWithoutMatrixUnit() throws IOException {
    assumeTrue(
        NativeProjection.preferredForIntegers(), "no kernels, or the matrix unit comes first");
    ComputeType floating = Cpu.resolve(ComputeType.AUTO);
    LlamaConfig config =
        LlamaConfig.builder()
            .hiddenSize(32)
            .intermediateSize(64)
            .layers(1)
            .heads(4)
            .kvHeads(4)
            .vocabularySize(512)
            .build();
    Path whole = Files.createDirectory(dir.resolve("whole"));
    RandomCheckpoint.write(whole, config, StorageType.F32, 5);
    Path out = dir.resolve("quantized");
    ModelQuantizer.write(whole, out, new Quantization(4, 8, 32), ONE_FILE, List.of());
    assertThat(computeType(whole)).isEqualTo(floating);
    assertThat(computeType(out)).isEqualTo(ComputeType.INT8);

    // Rows of 172 are not whole groups: that matrix stays as it is, and would be rounded.
    Path partly = dir.resolve("partly");
    ModelQuantizer.write(Stories.dir(), partly, new Quantization(4, 8, 32), ONE_FILE, List.of());
    assertThat(computeType(partly)).isEqualTo(floating);
  }

  private static ComputeType computeType(Path model) {
    try (EncodingEngine engine = EncodingEngine.builder().open(CheckpointDirectory.open(model))) {
      return engine.computeType();
    }
  }

  @ParameterizedTest
  @CsvSource({"8", "4"})
  void calibrationKeepsOtherTextsCloser(int bits) {
    Quantization quantization = new Quantization(bits, bits, 32);
    ModelQuantizer.write(Stories.dir(), dir.resolve("alone"), quantization, ONE_FILE, List.of());
    List<String> texts =
        List.of(
            "Tom and his mom went to the store to buy some milk and a big red apple.",
            "One day, a little bird sat on a tree. It saw a cat and flew away.",
            "She was sad because her toy was broken. Her dad said he could fix it.",
            "The sun was hot, so they sat in the shade and ate ice cream together.",
            "Ben likes to run and jump. He has a blue ball and a small brown puppy.");
    ModelQuantizer.write(Stories.dir(), dir.resolve("calibrated"), quantization, ONE_FILE, texts);
    assertThat(meanCosine(dir.resolve("calibrated")))
        .isGreaterThan(meanCosine(dir.resolve("alone")));
  }

  private static double meanCosine(Path quantized) {
    try (Encoder whole = encoder(Stories.dir());
        Encoder small = encoder(quantized)) {
      double sum = 0;
      for (String text : TEXTS) {
        for (Mode mode : Mode.values()) {
          sum += Similarity.cosine(whole.encode(text, mode), small.encode(text, mode));
        }
      }
      return sum / (2 * TEXTS.size());
    }
  }

  /** The definition, element by element, from the file's own bytes. */
  @Test
  void eachWeightIsWithinHalfAStepOfItsScale() {
    ModelQuantizer.write(Stories.dir(), dir, new Quantization(8, 8, 32), ONE_FILE, List.of());
    SafetensorsFile file = SafetensorsFile.open(dir.resolve("model.safetensors"));
    TensorEntry scales = file.entry("model.layers.0.self_attn.q_proj.weight_scale");
    assertThat(file.entry("model.layers.0.self_attn.q_proj.weight").type())
        .isEqualTo(StorageType.I8);
    assertThat(scales.shape()).containsExactly(64, 2);
    assertThat(scales.type()).isEqualTo(StorageType.F16);
    float[] scale = scales.readFloats();
    float[] original =
        CheckpointDirectory.open(Stories.dir())
            .tensor("layers.0.self_attn.q_proj.weight")
            .readFloats();
    float[] restored =
        TestModels.floats(CheckpointDirectory.open(dir), "layers.0.self_attn.q_proj.weight");
    for (int i = 0; i < original.length; i++) {
      // The largest may be cut, to have finer steps for all others.
      double most = 127 * scale[i / 32];
      double wanted = Math.max(-most - scale[i / 32], Math.min(most, original[i]));
      assertThat((double) restored[i]).isCloseTo(wanted, within(scale[i / 32] * 0.5001));
    }
  }

  @Test
  void theEmbeddingMatrixMayHaveMoreBits() {
    Quantization mixed = new Quantization(4, 8, 32);
    ModelQuantizer.write(Stories.dir(), dir, mixed, ONE_FILE, List.of());
    assertThat(CheckpointDirectory.open(dir).quantization()).contains(mixed);
    SafetensorsFile file = SafetensorsFile.open(dir.resolve("model.safetensors"));
    assertThat(file.entry("model.embed_tokens.weight").type()).isEqualTo(StorageType.I8);
    assertThat(file.entry("model.layers.0.mlp.up_proj.weight_packed").type())
        .isEqualTo(StorageType.I32);
    assertClose(dir, 0.97);
  }

  @Test
  void matricesOfOtherWidthsStayAndAreNamed() {
    // Rows of 172 are no multiple of 32.
    ModelQuantizer.write(Stories.dir(), dir, new Quantization(4, 4, 32), ONE_FILE, List.of());
    SafetensorsFile file = SafetensorsFile.open(dir.resolve("model.safetensors"));
    assertThat(file.entry("model.layers.0.mlp.down_proj.weight").type()).isEqualTo(StorageType.F32);
    assertThat(file.entry("model.layers.0.mlp.up_proj.weight_packed").shape())
        .containsExactly(172, 8);
    assertThat(
            TestModels.json(dir.resolve("config.json"))
                .getAsJsonObject("quantization_config")
                .getAsJsonArray("ignore")
                .toString())
        .contains("model.layers.0.mlp.down_proj");
  }

  @Test
  void shardsAreNoLargerThanAsked() throws IOException {
    ModelQuantizer.write(Stories.dir(), dir, new Quantization(8, 8, 32), 60_000, List.of());
    try (var files = Files.newDirectoryStream(dir, "*.safetensors")) {
      int count = 0;
      for (Path file : files) {
        assertThat(file.getFileName().toString()).matches("model-\\d{5}-of-\\d{5}.safetensors");
        assertThat(Files.size(file)).isLessThan(66_000);
        count++;
      }
      assertThat(count).isGreaterThan(4);
    }
    assertClose(dir, 0.9995);
  }

  @Test
  void quantisedModelsAreNotQuantisedAgainAndGetNoTokens() {
    Path once = dir.resolve("once");
    ModelQuantizer.write(Stories.dir(), once, new Quantization(8, 8, 32), ONE_FILE, List.of());
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(
            () ->
                ModelQuantizer.write(
                    once, dir.resolve("twice"), new Quantization(8, 8, 32), ONE_FILE, List.of()))
        .withMessageContaining("the weights are quantised");
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> VocabularyGrowth.addMarkers(once, dir.resolve("grown"), 1))
        .withMessageContaining("tokens are added before that");
    assertThat(dir.resolve("twice")).doesNotExist();
    assertThat(dir.resolve("grown")).doesNotExist();
  }

  @Test
  void aWeightThatIsNotFiniteIsNamed() {
    Path model = TestModels.stories(dir.resolve("model"));
    MarkedStories.changeWeights(
        model,
        entry -> {
          float[] values = entry.readFloats();
          if (entry.name().endsWith("layers.1.mlp.up_proj.weight")) {
            values[0] = Float.NaN;
          }
          return values;
        });
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(
            () ->
                ModelQuantizer.write(
                    model, dir.resolve("out"), new Quantization(8, 8, 32), ONE_FILE, List.of()))
        .withMessageContaining("layers.1.mlp.up_proj.weight has values that are not finite");
    assertThat(dir.resolve("out")).doesNotExist();
  }

  @Test
  void aTensorWithoutItsIntegersOrOfAnotherShapeIsNamed() {
    Path model = dir.resolve("model");
    ModelQuantizer.write(Stories.dir(), model, new Quantization(8, 8, 32), ONE_FILE, List.of());
    TestModels.change(
        model.resolve("config.json"),
        json ->
            json.getAsJsonObject("quantization_config")
                .getAsJsonObject("config_groups")
                .getAsJsonObject("group_0")
                .getAsJsonObject("weights")
                .addProperty("group_size", 16));
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> Encoder.builder(model).template(PromptTemplate.PAPER).build())
        .withMessageContaining("weight_scale' has shape [512, 2]")
        .withMessageContaining("expects [512, 4]");
  }
}
