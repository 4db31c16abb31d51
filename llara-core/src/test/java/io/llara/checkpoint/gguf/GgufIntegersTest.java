package io.llara.checkpoint.gguf;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.Similarity;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.HalfFloats;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.Quantization;
import io.llara.checkpoint.StorageType;
import io.llara.kernels.NativeProjection;
import io.llara.model.CheckpointWeights;
import io.llara.model.GgufWeightSource;
import io.llara.model.QuantizedMatrix;
import io.llara.model.WeightSource;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Stories;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** GGUF files of Q8_0 and Q4_0, whose integers are used as they are. */
class GgufIntegersTest {
  private static final Function<String, GgufType> MIXED =
      name ->
          name.equals(LlamaTensors.EMBEDDING) || name.contains("o_proj")
              ? GgufType.Q8_0
              : GgufType.Q4_0;

  @TempDir Path dir;

  private Path file() {
    return dir.resolve("model.gguf");
  }

  private Path write(Function<String, GgufType> types) {
    return GgufModels.of(Stories.dir(), types).write(file());
  }

  private CheckpointDirectory imported(StorageType type) {
    Path out = dir.resolve(type == null ? "integers" : "floats");
    GgufImporter.Builder builder = GgufImporter.builder(file());
    (type == null ? builder : builder.weightType(type)).build().write(out);
    return CheckpointDirectory.open(out);
  }

  @ParameterizedTest
  @EnumSource(names = {"Q8_0", "Q4_0"})
  void integersAreKept(GgufType type) {
    write(name -> type);
    CheckpointDirectory integers = imported(null);
    int bits = type == GgufType.Q8_0 ? 8 : 4;
    assertThat(integers.quantization()).contains(new Quantization(bits, bits, 32));
    assertThat(integers.tensors()).hasSize(5 * 9 + 2);
    long quantized =
        integers.tensors().keySet().stream()
            .filter(name -> integers.scales(name).isPresent())
            .count();
    // Rows of down_proj are 172 wide, which is no whole number of blocks: these are floats.
    assertThat(quantized).isEqualTo(5 * 6 + 1);
    assertThat(integers.tensor("layers.0.mlp.down_proj.weight").type()).isEqualTo(StorageType.F32);
    assertSameWeights(integers);
  }

  @Test
  void fourBitsBesideEightAreStoredInEight() {
    write(MIXED);
    CheckpointDirectory integers = imported(null);
    assertThat(integers.quantization()).contains(new Quantization(8, 8, 32));
    assertSameWeights(integers);
  }

  @Test
  void anEmbeddingInFourBitsBesideLayersInEightKeepsThem() {
    write(name -> name.equals(LlamaTensors.EMBEDDING) ? GgufType.Q4_0 : GgufType.Q8_0);
    CheckpointDirectory integers = imported(null);
    assertThat(integers.quantization()).contains(new Quantization(8, 4, 32));
    assertSameWeights(integers);
  }

  @Test
  void anEmbeddingInFloatsIsNamed() {
    write(name -> name.equals(LlamaTensors.EMBEDDING) ? GgufType.F32 : GgufType.Q8_0);
    CheckpointDirectory integers = imported(null);
    assertThat(integers.scales(LlamaTensors.EMBEDDING)).isEmpty();
    assertThat(integers.path().resolve("config.json"))
        .content()
        .contains("\"model.embed_tokens\"", "\"lm_head\"", "\"model.layers.4.mlp.down_proj\"")
        .doesNotContain("\"model.layers.4.mlp.up_proj\"");
    assertSameWeights(integers);
  }

  /** The directory, the file itself and its decoded floats: the same values to the last bit. */
  private void assertSameWeights(CheckpointDirectory integers) {
    Libtorch.load();
    CheckpointDirectory floats = imported(StorageType.F32);
    GgufImporter gguf = GgufImporter.builder(file()).build();
    WeightSource direct = new GgufWeightSource(gguf.weights(), gguf.config());
    Map<String, long[]> shapes = LlamaTensors.all(gguf.config());
    try (CheckpointWeights kept = new CheckpointWeights(integers, null, true)) {
      for (String name : shapes.keySet()) {
        float[] expected = floats.tensor(name).readFloats();
        assertThat(direct.has(name)).isTrue();
        assertThat(values(kept, name)).as(name).isEqualTo(expected);
        assertThat(values(direct, name)).as(name).isEqualTo(expected);
        assertThat(direct.isQuantized(name)).as(name).isEqualTo(kept.isQuantized(name));
        if (direct.isQuantized(name)) {
          assertThat(product(direct.quantized(name).orElseThrow())).as(name).isEqualTo(expected);
        }
      }
    }
    assertThat(direct.has("layers.5.mlp.up_proj.weight")).isFalse();
  }

  private static float[] values(WeightSource weights, String name) {
    try (Tensor tensor = weights.load(name, ScalarType.Float, WeightSource.Use.PASSING)) {
      return Tensors.toFloats(tensor);
    }
  }

  /** Integers times scales, one by one. */
  private static float[] product(QuantizedMatrix matrix) {
    try (matrix;
        TensorScope scope = new TensorScope()) {
      float[] scales = Tensors.toFloats(matrix.scales());
      boolean four = matrix.integers().scalar_type().intern() == ScalarType.Byte;
      float[] stored = Tensors.toFloats(matrix.integers().to(ScalarType.Float));
      float[] values = new float[stored.length * (four ? 2 : 1)];
      for (int i = 0; i < values.length; i++) {
        float integer = four ? ((int) stored[i / 2] >> i % 2 * 4 & 15) - 8 : stored[i];
        values[i] = integer * scales[i / 32];
      }
      return values;
    }
  }

  private static float[] vector(EncoderBuilder builder, ComputeType type) {
    try (Encoder encoder =
        builder.template("llara-paper").computeType(type).threads(1).maxTokens(64).build()) {
      assertThat(encoder.computeType()).isNotEqualTo(ComputeType.AUTO);
      return encoder.encode("Once upon a time there was a llama.", Mode.SELF);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"Q8_0", "Q4_0"})
  void anEncoderOpensTheFileItself(GgufType type) {
    write(name -> type);
    Path integers = imported(null).path();
    Path floats = imported(StorageType.F32).path();
    float[] expected = vector(Encoder.builder(floats), ComputeType.FLOAT32);
    assertThat(vector(Encoder.builder(file()), ComputeType.FLOAT32)).isEqualTo(expected);
    assertThat(vector(Encoder.builder(integers), ComputeType.FLOAT32)).isEqualTo(expected);
    assertThat(dir).isDirectoryNotContaining("glob:**/llara-model*");
    assumeTrue(NativeProjection.available(ScalarType.Float), "no kernels for integers");
    float[] rounded = vector(Encoder.builder(file()), ComputeType.INT8);
    assertThat(rounded).isEqualTo(vector(Encoder.builder(integers), ComputeType.INT8));
    // 0.99 as in verify: activations of a small model, rounded to eight bits.
    assertThat(Similarity.cosine(rounded, expected)).isGreaterThan(0.99);
    // By the matrix unit the integers stay such; elsewhere they become bfloat16 first.
    float[] half = vector(Encoder.builder(file()), ComputeType.BFLOAT16);
    assertThat(half).isEqualTo(vector(Encoder.builder(integers), ComputeType.BFLOAT16));
    assertThat(Similarity.cosine(half, expected)).isGreaterThan(0.995);
  }

  @Test
  void fourBitsBesideEightStayFourInMemory() {
    assumeTrue(NativeProjection.available(ScalarType.Float), "no kernels for integers");
    write(MIXED);
    float[] direct = vector(Encoder.builder(file()), ComputeType.INT8);
    float[] eight = vector(Encoder.builder(imported(null).path()), ComputeType.INT8);
    assertThat(Similarity.cosine(direct, eight)).isGreaterThan(0.9999);
  }

  @Test
  void scalesThatAreNoNumbersAreRefused() {
    GgufBuilder gguf = GgufModels.of(Stories.dir(), name -> GgufType.Q8_0);
    byte[] blocks = new byte[64 * 64 / 32 * 34];
    ByteBuffer.wrap(blocks)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putShort(34 * 5, HalfFloats.toF16(Float.POSITIVE_INFINITY));
    String name = "blk.2.attn_output.weight";
    gguf.removeTensor(name)
        .tensor(name, new long[] {64, 64}, GgufType.Q8_0.number(), blocks)
        .write(file());
    String message = "%s: tensor '%s' has the value Infinity; the file is damaged";
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> imported(null))
        .withMessage(message, file(), name);
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> vector(Encoder.builder(file()), ComputeType.FLOAT32))
        .withMessageContaining("tensor '%s' has the value", name);
  }

  @Test
  void whatAnEncoderCannotOpenIsNamed() {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> Encoder.load(file()))
        .withMessageStartingWith(file() + ": cannot be read");
    write(name -> GgufType.Q8_0);
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> Encoder.load(file()))
        .withMessageStartingWith(file() + ": does not say what its prompts are");
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(
            () -> vector(Encoder.builder(file()).adapter(dir.resolve("lora")), ComputeType.AUTO))
        .withMessageContaining("merged into a model directory only");
  }

  @Test
  void autoComputesInFloatsWhereSomeAreStoredSo() {
    write(name -> GgufType.Q8_0);
    try (Encoder encoder = Encoder.builder(file()).template("llara-paper").build()) {
      assertThat(encoder.computeType()).isNotEqualTo(ComputeType.INT8);
    }
  }
}
