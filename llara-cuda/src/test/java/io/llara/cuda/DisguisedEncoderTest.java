package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.EmbeddingPair;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.kernels.Accelerators;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Leaks;
import io.llara.testing.Stories;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A real model by the kernels for GPUs, on the processor, through the whole encoder. */
class DisguisedEncoderTest {
  private static final List<String> TEXTS =
      List.of(
          "once upon a time",
          "there was a llama who lived on a hill and carried loads for the people below",
          "a",
          "the end");

  private static EncoderBuilder builder(String device, ComputeType type) {
    assumeTrue(
        !device.equals("shim") || DisguisedAccelerators.shim().isPresent(),
        "this build has no kernels.cu for the processor");
    return Encoder.builder(Stories.dir())
        .template(PromptTemplate.PAPER)
        .computeType(type)
        .device(device);
  }

  @ParameterizedTest
  @ValueSource(strings = {"shim", "neutral"})
  void embeddingsAreThoseOfTheProcessorsKernels(String device) throws Throwable {
    try (Encoder processor = builder("cpu", ComputeType.FLOAT32).build();
        Encoder encoder = builder(device, ComputeType.FLOAT32).build()) {
      List<float[]> expected = processor.encodeAll(TEXTS, Mode.SELF);
      long before = ShimLauncher.LAUNCHES.get();

      List<float[]> actual = encoder.encodeAll(TEXTS, Mode.SELF);

      if (device.equals("shim")) {
        // In each of five layers two norms, two rotations and a gate; and the final norm; of each
        // batch.
        assertThat((ShimLauncher.LAUNCHES.get() - before) % (5 * 5 + 1)).isZero();
        assertThat(ShimLauncher.LAUNCHES.get()).isGreaterThan(before);
      }
      for (int i = 0; i < TEXTS.size(); i++) {
        assertThat(Similarity.cosine(actual.get(i), expected.get(i))).isGreaterThan(0.999999);
        EmbeddingPair pair = encoder.encodeBoth(TEXTS.get(i));
        assertThat(Similarity.cosine(pair.self(), expected.get(i))).isGreaterThan(0.999999);
        assertThat(Similarity.cosine(pair.next(), processor.encode(TEXTS.get(i), Mode.NEXT)))
            .isGreaterThan(0.999999);
      }
      Leaks.assertNone(() -> encoder.encodeAll(TEXTS, Mode.NEXT));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"shim", "neutral"})
  void eightBitFloatsStayClose(String device) throws Throwable {
    try (Encoder processor = builder("cpu", ComputeType.FLOAT32).build();
        Encoder encoder = builder(device, ComputeType.FLOAT8).build()) {
      List<float[]> expected = processor.encodeAll(TEXTS, Mode.NEXT);

      List<float[]> actual = encoder.encodeAll(TEXTS, Mode.NEXT);

      assertThat(encoder.computeType()).isEqualTo(ComputeType.FLOAT8);
      for (int i = 0; i < TEXTS.size(); i++) {
        // Rounded they are; and of a small model, whose rows have no more than 64 components.
        assertThat(Similarity.cosine(actual.get(i), expected.get(i))).isBetween(0.97, 0.99999);
      }
      Leaks.assertNone(() -> encoder.encodeAll(TEXTS, Mode.NEXT));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"BFLOAT16", "FLOAT16"})
  void halfPrecisionStaysClose(ComputeType type) {
    try (Encoder processor = builder("cpu", ComputeType.FLOAT32).build();
        Encoder encoder = builder("shim", type).build()) {
      List<float[]> expected = processor.encodeAll(TEXTS, Mode.NEXT);
      List<float[]> actual = encoder.encodeAll(TEXTS, Mode.NEXT);

      assertThat(encoder.computeType()).isEqualTo(type);
      for (int i = 0; i < TEXTS.size(); i++) {
        assertThat(Similarity.cosine(actual.get(i), expected.get(i))).isGreaterThan(0.995);
      }
    }
  }

  @Test
  void withoutAGpuTheMessageSaysWhyAndTheProcessorGoesOn() {
    CudaProvider provider = (CudaProvider) Accelerators.providers().get("cuda");
    assumeTrue(provider.count() == 0, "this machine has a GPU and natives for it");

    assertThatThrownBy(() -> builder("cuda", ComputeType.FLOAT32).build())
        .isInstanceOf(DeviceException.class)
        .hasMessage("device cuda cannot be used: " + provider.problem().orElseThrow());
    try (Encoder encoder = builder("cpu", ComputeType.FLOAT32).build()) {
      assertThat(encoder.encode("once", Mode.SELF)).hasSize(64);
    }
  }
}
