package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.kernels.Accelerator;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Stories;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A real model on a GPU against the processor. */
@Tag("gpu")
class GpuEncoderTest {
  private CudaDevice gpu;

  @BeforeEach
  void require() {
    gpu = Gpu.require();
  }

  private static EncoderBuilder builder(String device, ComputeType type) {
    return Encoder.builder(Stories.dir())
        .template(PromptTemplate.PAPER)
        .computeType(type)
        .device(device);
  }

  private static List<String> texts() {
    List<String> texts = new ArrayList<>();
    for (int i = 1; i < 60; i++) {
      texts.add("once upon a time there was a llama ".repeat(1 + i % 7) + i);
    }
    return texts;
  }

  @ParameterizedTest
  @CsvSource({"FLOAT32,0.99999", "BFLOAT16,0.995", "FLOAT16,0.999"})
  void embeddingsAreThoseOfTheProcessor(ComputeType type, double least) {
    try (Encoder processor = builder("cpu", ComputeType.FLOAT32).build();
        Encoder encoder = builder("cuda:0", type).build()) {
      for (Mode mode : Mode.values()) {
        List<float[]> expected = processor.encodeAll(texts(), mode);
        List<float[]> actual = encoder.encodeAll(texts(), mode);
        for (int i = 0; i < expected.size(); i++) {
          assertThat(Similarity.cosine(actual.get(i), expected.get(i))).isGreaterThan(least);
          assertThat(
                  Similarity.cosine(encoder.encodeBoth(texts().get(i)).get(mode), expected.get(i)))
              .isGreaterThan(least);
          for (int j = 0; j < expected.get(i).length && type == ComputeType.FLOAT32; j++) {
            assertThat(actual.get(i)[j]).isCloseTo(expected.get(i)[j], within(1e-3f));
          }
        }
      }
    }
  }

  /** Each of libtorch's kernels against the plain way, which the processor's tests check. */
  @Test
  void packedAttentionEqualsTheDenseMatrix() {
    PromptBuilder prompts =
        PromptBuilder.ofIds(new int[] {1}, new int[] {2, 3, 4}, new int[] {5, 6, 7, 8, 9}, 2);
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(
                prompts.jointFromIds(new int[300]),
                prompts.fromIds(new int[1], Mode.SELF),
                prompts.jointFromIds(new int[17])),
            Layout.packed());
    for (PackedAttention packed : List.of(new FlashAttention(), new EfficientAttention())) {
      for (ScalarType type : List.of(ScalarType.Float, ScalarType.BFloat16, ScalarType.Half)) {
        for (boolean causal : new boolean[] {true, false}) {
          try (TensorScope scope = new TensorScope();
              Accelerator.Lane lane = gpu.openLane()) {
            Device device = new Device("cuda:0");
            Tensor q = torch.randn(mask.rows(), 8, 64).to(device, type);
            Tensor k = torch.randn(mask.rows(), 2, 64).to(device, type);
            Tensor v = torch.randn(mask.rows(), 2, 64).to(device, type);
            if (packed.suits(q)) {
              var spans = (causal ? mask : mask.bidirectional()).spans();
              float[] expected =
                  Tensors.toFloats(
                      new CudaKernels(device, null, List.of(new DenseAttention()))
                          .attention(q, k, v, spans));
              float[] actual =
                  Tensors.toFloats(
                      new CudaKernels(device, null, List.of(packed)).attention(q, k, v, spans));
              for (int i = 0; i < actual.length; i++) {
                assertThat(actual[i])
                    .as("%s, %s, causal %s", packed.name(), type, causal)
                    .isCloseTo(expected[i], within(type == ScalarType.Float ? 1e-3f : 0.04f));
              }
            }
          }
        }
      }
    }
  }

  @Test
  void tenThousandEncodesLeaveItsMemoryAsItIs() {
    try (Encoder encoder = builder("cuda:0", ComputeType.AUTO).build()) {
      encoder.encodeAll(texts(), Mode.SELF);
      long before = gpu.driverFreeBytes();
      for (int i = 0; i < 10_000 / texts().size() + 1; i++) {
        encoder.encodeAll(texts(), Mode.SELF);
      }
      assertThat(before - gpu.driverFreeBytes()).isLessThan(64L << 20);
    }
  }

  @Test
  void anIndexThatIsNotThereIsNamed() {
    assertThatThrownBy(() -> builder("cuda:999", ComputeType.AUTO).build())
        .isInstanceOf(DeviceException.class)
        .hasMessageStartingWith("there is no device cuda:999; this machine has cuda:0");
  }
}
