package io.llara.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.ComputeType;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.prompt.Prompt;
import io.llara.tensor.Tensors;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The kernels of the instructions that {@code io.llara.kernels} allows; the build runs this once
 * for each level.
 */
class FusedKernelsTest extends KernelsContract {

  @BeforeEach
  void needKernels() {
    assumeTrue(FusedKernels.instructions().isPresent(), "no kernels are compiled for this machine");
  }

  @AfterEach
  void oneThread() {
    torch.set_num_threads(1);
  }

  @Override
  List<Kernels> kernels() {
    return List.of(new FusedKernels());
  }

  /** Tiles of every height, registers of every filling. */
  @ParameterizedTest
  @EnumSource
  void attentionTakesPromptsOfAnyLength(Type type) {
    List<Prompt> prompts = new ArrayList<>();
    IntStream.rangeClosed(1, 70).forEach(length -> prompts.add(AttentionBatches.plain(length)));
    prompts.add(AttentionBatches.joint(61));
    AttentionMask mask = AttentionMaskFactory.create(prompts, Layout.packed());

    checkAttention(mask, 2, 1, 10, type);
  }

  @ParameterizedTest
  @EnumSource
  void attentionTakesLongPromptsAndWideHeads(Type type) {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(AttentionBatches.plain(701), AttentionBatches.joint(333)), Layout.packed());

    checkAttention(mask, 2, 2, 256, type);
  }

  @ParameterizedTest
  @EnumSource
  void attentionTakesHeadsOfOddWidth(Type type) {
    AttentionMask mask =
        AttentionMaskFactory.create(List.of(AttentionBatches.plain(33)), Layout.packed());

    checkAttention(mask, 3, 1, 7, type);
  }

  /** The last bits must not depend on what shares a batch, nor on how many threads help. */
  @ParameterizedTest
  @EnumSource
  void attentionOfAPromptIsTheSameInAnyBatchAndOnAnyNumberOfThreads(Type type) {
    AttentionMask alone =
        AttentionMaskFactory.create(List.of(AttentionBatches.plain(300)), Layout.packed());
    AttentionMask among =
        AttentionMaskFactory.create(
            List.of(
                AttentionBatches.plain(5), AttentionBatches.plain(300), AttentionBatches.joint(40)),
            Layout.packed());
    Tensor q = random(type, 1, among.rows(), 6, 32);
    Tensor k = random(type, 1, among.rows(), 3, 32);
    Tensor v = random(type, 1, among.rows(), 3, 32);

    float[] expected =
        Tensors.toFloats(
            kernels.attention(
                q.narrow(0, 5, 300), k.narrow(0, 5, 300), v.narrow(0, 5, 300), alone.spans()));
    assertThat(Tensors.toFloats(kernels.attention(q, k, v, among.spans()).narrow(0, 5, 300)))
        .isEqualTo(expected);
    for (int threads : new int[] {2, 3, 8}) {
      torch.set_num_threads(threads);
      assertThat(Tensors.toFloats(kernels.attention(q, k, v, among.spans()).narrow(0, 5, 300)))
          .isEqualTo(expected);
    }
  }

  /** Each factor has eight bits then, and a share of a score likewise. */
  @Test
  void attentionForInt8RoundsItsFactorsAtMost() {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(
                AttentionBatches.plain(1), AttentionBatches.plain(90), AttentionBatches.joint(61)),
            Layout.packed());
    for (int width : new int[] {2, 18, 64, 80}) {
      Tensor q = random(Type.FLOAT32, 2, mask.rows(), 4, width);
      Tensor k = random(Type.FLOAT32, 2, mask.rows(), 2, width);
      Tensor v = random(Type.FLOAT32, 1, mask.rows(), 2, width);
      Tensor expected = kernels.attention(q, k, v, mask.spans());
      Tensor found = FusedKernels.orLibtorch(ComputeType.INT8).attention(q, k, v, mask.spans());
      double distance = found.sub(expected).norm().item_double() / expected.norm().item_double();
      if (instructionsAreForBfloat16()) {
        assertThat(distance).isBetween(1e-4, 0.01);
      } else {
        assertThat(distance).isZero();
      }
    }
  }

  private static boolean instructionsAreForBfloat16() {
    return FusedKernels.instructions()
        .filter(level -> level.equals("amx") || level.equals("avx512_bf16"))
        .isPresent();
  }

  @ParameterizedTest
  @EnumSource
  void everyOperationIsTheSameOnAnyNumberOfThreads(Type type) {
    Tensor x = random(type, 1, 1031, 4, 70);
    Tensor wide = x.flatten(1, 2);
    Tensor weight = random(type, 1, 280);
    Projection projection = new PlainProjection(random(type, 0.1, 300, 280), null);
    Kernels.Rotation table = rotation(type, 1031, 70);
    List<float[]> expected = run(x, wide, weight, projection, table);

    torch.set_num_threads(3);

    List<float[]> actual = run(x, wide, weight, projection, table);
    for (int i = 0; i < expected.size(); i++) {
      assertThat(actual.get(i)).isEqualTo(expected.get(i));
    }
  }

  private List<float[]> run(
      Tensor x, Tensor wide, Tensor weight, Projection projection, Kernels.Rotation table) {
    return List.of(
        Tensors.toFloats(kernels.rmsNorm(wide, weight, 1e-5)),
        Tensors.toFloats(kernels.rotary(x, table)),
        Tensors.toFloats(kernels.swiGlu(wide.narrow(0, 0, 1), projection, projection)));
  }

  /** Two units in the last place of the exponential, one of the rest. */
  @Test
  void siluIsExactToAFewUnitsInTheLastPlace() {
    int count = 20_001;
    float[] open = new float[count];
    for (int i = 0; i < count; i++) {
      open[i] = (i - count / 2) * 80f / (count / 2);
    }
    float[] actual = gate(open, ScalarType.Float);

    for (int i = 0; i < count; i++) {
      double expected = open[i] / (1 + Math.exp(-(double) open[i]));
      assertThat((double) actual[i]).isCloseTo(expected, within(4e-7 * Math.abs(expected)));
    }
  }

  @ParameterizedTest
  @EnumSource
  void siluOfHugeValuesIsTheirLimit(Type type) {
    float[] actual = gate(new float[] {-1e30f, -1000, 0, 1000, 1e30f}, type.torch);

    assertThat((double) actual[0]).isBetween(-1e-7, 0.0);
    assertThat((double) actual[1]).isBetween(-1e-30, 0.0);
    assertThat(actual[2]).isZero();
    assertThat((double) actual[3]).isCloseTo(1000, within(1.0));
    assertThat((double) actual[4]).isCloseTo(1e30, within(1e28));
  }

  /** NaN has to come through, so that the embedding is refused. */
  @ParameterizedTest
  @EnumSource
  void nanStaysNan(Type type) {
    AttentionMask mask =
        AttentionMaskFactory.create(List.of(AttentionBatches.plain(9)), Layout.packed());
    Tensor fine = random(type, 1, 9, 1, 4);
    Tensor broken = fine.clone();
    broken.narrow(0, 8, 1).fill_(new org.bytedeco.pytorch.Scalar(Double.NaN));

    assertThat(gate(new float[] {1, Float.NaN, 2}, type.torch)[1]).isNaN();
    assertThat(Tensors.toFloats(kernels.rmsNorm(broken.view(9, 4), random(type, 1, 4), 1e-5)))
        .endsWith(Float.NaN, Float.NaN, Float.NaN, Float.NaN);
    for (float[] result :
        List.of(
            Tensors.toFloats(kernels.attention(broken, fine, fine, mask.spans())),
            Tensors.toFloats(kernels.attention(fine, broken, fine, mask.spans())),
            Tensors.toFloats(kernels.attention(fine, fine, broken, mask.spans())))) {
      assertThat(result).endsWith(Float.NaN, Float.NaN, Float.NaN, Float.NaN);
    }
  }

  private float[] gate(float[] open, ScalarType type) {
    Tensor row = Tensors.ofFloats(open, 1, open.length).to(type);
    return Tensors.toFloats(
        kernels.swiGlu(row, new Fixed(row.clone()), new Fixed(torch.ones_like(row))));
  }

  /** Gives what it was given, whatever it is applied to. */
  private record Fixed(Tensor result) implements Projection {
    @Override
    public Tensor apply(Tensor x) {
      return result;
    }

    @Override
    public void close() {}
  }

  @Test
  void viewsAreReadAsTheyAreMeant() {
    Tensor x = random(Type.FLOAT32, 1, 6, 40);
    Tensor weight = random(Type.FLOAT32, 1, 6);

    assertThat(Tensors.toFloats(kernels.rmsNorm(x.t(), weight, 1e-5)))
        .isEqualTo(Tensors.toFloats(kernels.rmsNorm(x.t().contiguous(), weight, 1e-5)));
  }

  @Test
  void wrongShapesAndTypesAreRefused() {
    AttentionMask mask =
        AttentionMaskFactory.create(List.of(AttentionBatches.plain(9)), Layout.packed());
    Tensor x = random(Type.FLOAT32, 1, 9, 8);
    Tensor heads = x.view(9, 2, 4);
    Tensor few = heads.narrow(0, 0, 8);
    Tensor half = heads.to(ScalarType.BFloat16);

    assertThatThrownBy(() -> kernels.rmsNorm(x, random(Type.FLOAT32, 1, 7), 1e-5))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("expected 8 elements of type Float, not 7 of type Float");
    assertThatThrownBy(() -> kernels.rmsNorm(x, random(Type.BFLOAT16, 1, 8), 1e-5))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("expected 8 elements of type Float, not 8 of type BFloat16");
    Tensor doubles = x.to(ScalarType.Double);
    assertThatThrownBy(() -> kernels.rmsNorm(doubles, doubles, 1e-5))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("expected float32 or bfloat16, not Double");
    assertThatThrownBy(() -> kernels.attention(few, heads, heads, mask.spans()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("exceeds 8 query rows and 9 key rows");
    assertThatThrownBy(() -> kernels.attention(heads, few, few, mask.spans()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("exceeds 9 query rows and 8 key rows");
    assertThatThrownBy(() -> kernels.attention(heads, heads, few, mask.spans()))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> kernels.attention(heads, half, half, mask.spans()))
        .isInstanceOf(IllegalArgumentException.class);
  }

  /** Widths and lengths that the matrix unit takes, beside those that it does not. */
  @ParameterizedTest
  @ValueSource(ints = {32, 64, 96, 128})
  void attentionByTiles(int dim) {
    List<Prompt> prompts = new ArrayList<>();
    for (int length : new int[] {1, 63, 64, 65, 79, 80, 81, 95, 96, 97, 150}) {
      prompts.add(AttentionBatches.plain(length));
    }
    prompts.add(AttentionBatches.joint(85));
    AttentionMask mask = AttentionMaskFactory.create(prompts, Layout.packed());

    checkAttention(mask, 4, 2, dim, Type.BFLOAT16);
  }

  @ParameterizedTest
  @ValueSource(strings = {"avx2", "avx_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx"})
  void instructionsCanBeLimited(String limit) {
    NativeKernels.Level level = NativeKernels.highest(limit).orElseThrow();

    assertThat(level.runsHere()).isTrue();
    assertThat(level)
        .isGreaterThanOrEqualTo(
            NativeKernels.Level.valueOf(limit.toUpperCase(java.util.Locale.ROOT)));
    assertThat(NativeKernels.class.getResource(level.resource())).isNotNull();
  }

  @Test
  void theyCanBeSwitchedOff() {
    assertThat(NativeKernels.highest("libtorch")).isEmpty();
    assertThatThrownBy(() -> NativeKernels.highest("sse"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "io.llara.kernels is sse; expected one of libtorch, amx, avx512_bf16, avx512_vnni,"
                + " avx512, avx_vnni, avx2, neon");
  }
}
