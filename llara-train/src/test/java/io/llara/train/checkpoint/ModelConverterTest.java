package io.llara.train.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.Quantization;
import io.llara.checkpoint.StorageType;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.Stories;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ModelConverterTest {
  @TempDir private Path dir;

  private final List<String> texts =
      IntStream.range(0, 70).mapToObj(i -> "Lily saw %d birds.".formatted(i)).toList();
  private Path quantized;
  private Path rotated;
  private Path out;

  @BeforeEach
  void aModelOfIntegersWithRotatedVectors() {
    Path model = Directories.copy(Stories.dir(), dir.resolve("model"));
    new LlaraJson(PromptTemplate.PAPER, true, OptionalInt.empty(), OptionalInt.empty())
        .write(model);
    quantized = dir.resolve("quantized");
    rotated = dir.resolve("rotated");
    out = dir.resolve("out");
    ModelQuantizer.write(model, quantized, new Quantization(8, 8, 32), 1 << 30, List.of());
    ModelRotator.write(quantized, rotated, texts);
  }

  private List<float[]> encode(Path from) {
    try (Encoder encoder =
        Encoder.builder(from).computeType(ComputeType.FLOAT32).threads(1).build()) {
      return encoder.encodeAll(texts, Mode.SELF);
    }
  }

  @Test
  void integersBecomeTheFloatsThatTheyStandFor() {
    ModelConverter.convert(rotated, out, StorageType.F32, true);

    assertThat(CheckpointDirectory.open(out).quantization()).isEmpty();
    assertThat(CheckpointDirectory.open(out).weightType()).isEqualTo(StorageType.F32);
    assertThat(encode(out)).containsExactlyElementsOf(encode(rotated));
  }

  @Test
  void withoutItsLinearLayerCosinesAreTheSame() {
    ModelConverter.convert(rotated, out, StorageType.F32, false);

    assertThat(CheckpointDirectory.open(out).llaraJson().orElseThrow().dense()).isEmpty();
    assertThat(out.resolve("dense.safetensors")).doesNotExist();
    List<float[]> before = encode(rotated);
    List<float[]> after = encode(out);
    for (int i = 1; i < texts.size(); i++) {
      assertThat(Similarity.cosine(after.get(0), after.get(i)))
          .isCloseTo(Similarity.cosine(before.get(0), before.get(i)), within(1e-5));
    }
    assertThat(after).containsExactlyElementsOf(encode(quantized));
  }

  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16"})
  void weightsMayTakeTwoBytes(StorageType type) {
    ModelConverter.convert(quantized, out, type, true);

    assertThat(CheckpointDirectory.open(out).weightType()).isEqualTo(type);
    assertThat(Similarity.cosine(encode(out).get(3), encode(quantized).get(3)))
        .isGreaterThan(0.999);
  }

  @Test
  void nothingIsOverwritten() {
    assertThatThrownBy(() -> ModelConverter.convert(quantized, rotated, StorageType.F32, true))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(rotated.toString());
  }
}
