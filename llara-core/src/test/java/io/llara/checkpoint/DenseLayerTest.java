package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.Stories;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalInt;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class DenseLayerTest {
  private static final int HIDDEN = 64;
  private static final int OUTPUTS = 5;
  private static final LlaraJson PLAIN =
      new LlaraJson(PromptTemplate.PAPER, true, OptionalInt.empty(), OptionalInt.empty());

  @TempDir private Path dir;

  private final float[] weight = new float[OUTPUTS * HIDDEN];
  private final float[] bias = {0.5F, -0.25F, 0, 1, 2};

  @BeforeEach
  void model() {
    Directories.copy(Stories.dir(), dir);
    for (int i = 0; i < weight.length; i++) {
      weight[i] = (float) Math.sin(i);
    }
  }

  private void layer(String activation, SafetensorsWriter tensors) throws IOException {
    tensors.write(dir.resolve(DenseLayer.FILE_NAME));
    Files.writeString(
        dir.resolve(LlaraJson.FILE_NAME),
        "{\"formatVersion\": 1, \"template\": \"llara-paper\", \"dense\": \"%s\"}"
            .formatted(activation));
  }

  private SafetensorsWriter whole() {
    return new SafetensorsWriter()
        .add("linear.weight", StorageType.F32, new long[] {OUTPUTS, HIDDEN}, weight)
        .add("linear.bias", StorageType.F32, new long[] {OUTPUTS}, bias);
  }

  private EncoderBuilder encoder() {
    return Encoder.builder(dir).computeType(ComputeType.FLOAT32).threads(1);
  }

  private float[] vector() {
    try (Encoder encoder = encoder().normalize(false).build()) {
      return encoder.encode("a little bird", Mode.SELF);
    }
  }

  @ParameterizedTest
  @EnumSource
  void itIsAppliedBehindThePooling(DenseLayer.Activation activation) throws IOException {
    PLAIN.write(dir);
    float[] pooled = vector();
    layer(activation.name().toLowerCase(java.util.Locale.ROOT), whole());

    float[] embedding = vector();

    assertThat(embedding).hasSize(OUTPUTS);
    for (int row = 0; row < OUTPUTS; row++) {
      double sum = bias[row];
      for (int column = 0; column < HIDDEN; column++) {
        sum += (double) weight[row * HIDDEN + column] * pooled[column];
      }
      double expected = activation == DenseLayer.Activation.TANH ? Math.tanh(sum) : sum;
      assertThat((double) embedding[row]).isCloseTo(expected, within(1e-4));
    }
  }

  @Test
  void itsOutputsAreWhatIsCutAndNormalised() throws IOException {
    layer("linear", whole());
    float[] all = vector();
    try (Encoder encoder = encoder().dimension(3).build()) {
      assertThat(encoder.dimension()).isEqualTo(3);
      float[] cut = encoder.encode("a little bird", Mode.SELF);
      double length = Math.sqrt((double) all[0] * all[0] + all[1] * all[1] + all[2] * all[2]);
      assertThat((double) cut[2]).isCloseTo(all[2] / length, within(1e-6));
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> encoder().dimension(6).build())
        .withMessage("dimension is 6; the model's vectors have 5");
  }

  @Test
  void itIsPartOfTheModel() throws IOException {
    layer("tanh", whole());
    CheckpointDirectory model = CheckpointDirectory.open(dir);
    assertThat(model.weightFiles()).contains(dir.resolve(DenseLayer.FILE_NAME));
    LlaraJson recipe = model.llaraJson().orElseThrow();

    recipe.write(dir);
    PythonFiles.write(dir, recipe);

    assertThat(LlaraJson.read(dir.resolve(LlaraJson.FILE_NAME))).isEqualTo(recipe);
    assertThat(dir.resolve("README.md"))
        .content()
        .contains(
            "import safetensors.torch\nimport torch\n",
            "    vector = states[-pooled:].mean(0)\n"
                + "    dense = safetensors.torch.load_file(\"dense.safetensors\")\n",
            "    vector = torch.nn.functional.linear(vector, dense[\"linear.weight\"].float(), bias).tanh()\n"
                + "    return torch.nn.functional.normalize(vector, dim=0)\n");
  }

  @ParameterizedTest
  @ValueSource(strings = {"missing", "inputs", "vector", "bias", "nan", "more", "type"})
  void whatDoesNotFitIsNamed(String problem) throws IOException {
    SafetensorsWriter tensors = new SafetensorsWriter();
    String expected =
        switch (problem) {
          case "missing" -> {
            tensors.add("weight", StorageType.F32, new long[] {1}, new float[1]);
            yield "linear.weight";
          }
          case "inputs" -> {
            tensors.add("linear.weight", StorageType.F32, new long[] {HIDDEN, OUTPUTS}, weight);
            yield "linear.weight has shape [64, 5]; expected [outputs, 64], the model's hidden size";
          }
          case "vector" -> {
            tensors.add("linear.weight", StorageType.F32, new long[] {HIDDEN}, new float[HIDDEN]);
            yield "has shape [64]; expected [outputs, 64]";
          }
          case "bias" -> {
            tensors
                .add("linear.weight", StorageType.F32, new long[] {OUTPUTS, HIDDEN}, weight)
                .add("linear.bias", StorageType.F32, new long[] {4}, new float[4]);
            yield "linear.bias has shape [4]; expected [5]";
          }
          case "nan" -> {
            weight[7] = Float.NaN;
            tensors.add("linear.weight", StorageType.F32, new long[] {OUTPUTS, HIDDEN}, weight);
            yield "linear.weight has values that are not finite";
          }
          case "more" -> {
            tensors = whole().add("x", StorageType.F32, new long[] {1}, new float[1]);
            yield "expected linear.weight and maybe linear.bias";
          }
          default -> "key 'dense' is 'relu'; expected linear or tanh";
        };
    layer(problem.equals("type") ? "relu" : "linear", tensors);

    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> encoder().build())
        .withMessageContaining(expected);
  }

  @Test
  void aMissingFileIsNamed() throws IOException {
    layer("linear", whole());
    Files.delete(dir.resolve(DenseLayer.FILE_NAME));

    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> encoder().build())
        .withMessageContaining("dense.safetensors");
  }
}
