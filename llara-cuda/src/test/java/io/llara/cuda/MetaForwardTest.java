package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.kernels.Float8Projection;
import io.llara.kernels.JoinedProjection;
import io.llara.kernels.Kernels;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.kernels.SlicedProjection;
import io.llara.model.LlamaFactory;
import io.llara.model.LlamaModel;
import io.llara.model.Parts;
import io.llara.model.TokenEmbedding;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The whole forward pass of models of 7 billion parameters on libtorch's meta device, whose tensors
 * have shapes and types but no elements.
 */
class MetaForwardTest {
  private static final PromptBuilder PROMPTS =
      PromptBuilder.ofIds(
          new int[] {1}, IntStream.range(2, 22).toArray(), IntStream.range(22, 40).toArray(), 8);

  /** Shapes of models that people have. */
  enum Shape {
    LLAMA_2_7B(32, 11008, 32032),
    MISTRAL_7B(8, 14336, 32000);

    final LlamaConfig config;

    Shape(int kvHeads, int intermediate, int vocabulary) {
      config =
          LlamaConfig.builder()
              .hiddenSize(4096)
              .intermediateSize(intermediate)
              .layers(32)
              .heads(32)
              .kvHeads(kvHeads)
              .vocabularySize(vocabulary)
              .build();
    }
  }

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  /** Weights without elements, made as a device's are: joined. */
  private record Weightless(LlamaConfig config, ScalarType type, @Nullable Kernels float8)
      implements Parts {
    private Tensor own(String name) {
      try (TensorScope scope = new TensorScope()) {
        TensorOptions options =
            new TensorOptions(new Device("meta")).dtype(new ScalarTypeOptional(type));
        return scope.own(torch.empty(LlamaTensors.required(config).get(name), options, null));
      }
    }

    @Override
    public TokenEmbedding embedding() {
      return new TokenEmbedding(own(LlamaTensors.EMBEDDING), type);
    }

    @Override
    public Tensor norm(String name) {
      return own(name);
    }

    @Override
    public Projection projection(String module) {
      return projection(own(module + ".weight"), null);
    }

    private SlicedProjection projection(Tensor weight, @Nullable Tensor bias) {
      return float8 == null
          ? new PlainProjection(weight, bias)
          : new Float8Projection(weight, bias, float8);
    }

    @Override
    public List<Projection> projections(List<String> modules) {
      try (TensorScope scope = new TensorScope()) {
        List<Tensor> weights =
            modules.stream().map(module -> TensorScope.adopt(own(module + ".weight"))).toList();
        return JoinedProjection.join(weights, List.of(), this::projection);
      }
    }

    @Override
    public IntUnaryOperator rowPadding() {
      return rows -> rows;
    }
  }

  /** Checks what libtorch's kernels would be called with; meta tensors have none. */
  private static final class Checked implements PackedAttention {
    private final Shape shape;
    private final ScalarType type;
    private final List<Long> queryRows = new ArrayList<>();

    Checked(Shape shape, ScalarType type) {
      this.shape = shape;
      this.type = type;
    }

    @Override
    public String name() {
      return "checked";
    }

    @Override
    public boolean suits(Tensor q) {
      return new FlashAttention().suits(q);
    }

    @Override
    public Tensor apply(Tensor q, Tensor k, Tensor v, PackedSequences sequences) {
      queryRows.add(q.size(0));
      assertThat(sizes(q)).containsExactly(q.size(0), shape.config.heads(), 128);
      assertThat(sizes(k)).containsExactly(k.size(0), shape.config.kvHeads(), 128);
      assertThat(sizes(v)).isEqualTo(sizes(k));
      for (Tensor each : List.of(q, k, v)) {
        assertThat(each.scalar_type().intern()).isEqualTo(type);
        assertThat(each.is_meta()).isTrue();
        assertThat(each.stride(2)).isEqualTo(1);
      }
      for (Tensor offsets : List.of(sequences.queryOffsets(), sequences.keyOffsets())) {
        assertThat(offsets.scalar_type().intern()).isEqualTo(ScalarType.Int);
        assertThat(offsets.size(0)).isEqualTo(sequences.queryEnds().length + 1);
        assertThat(offsets.is_meta()).isTrue();
      }
      Schemas.assertTakes(
          "aten::_flash_attention_forward", FlashAttention.arguments(q, k, v, sequences));
      Schemas.assertTakes(
          "aten::_efficient_attention_forward", EfficientAttention.arguments(q, k, v, sequences));
      return torch.empty_like(q);
    }

    private static long[] sizes(Tensor tensor) {
      return new long[] {tensor.size(0), tensor.size(1), tensor.size(2)};
    }
  }

  @ParameterizedTest
  @EnumSource
  void shapesAndTypesFit(Shape shape) {
    for (ScalarType type : List.of(ScalarType.BFloat16, ScalarType.Half)) {
      for (boolean fused : new boolean[] {true, false}) {
        run(shape, type, fused, false);
      }
    }
    run(shape, ScalarType.BFloat16, true, true);
  }

  private static void run(Shape shape, ScalarType type, boolean fused, boolean float8) {
    LlamaConfig config = shape.config;
    Checked attention = new Checked(shape, type);
    try (TensorScope scope = new TensorScope();
        InferenceMode inference = new InferenceMode(true)) {
      CudaKernels kernels =
          new CudaKernels(
              new Device("meta"),
              fused
                  ? new FusedOperations(
                      (kernel, blocks, threads, arguments) -> {
                        throw new AssertionError("there is nothing to compute");
                      })
                  : null,
              List.of(attention));
      List<Prompt> prompts =
          List.of(
              PROMPTS.jointFromIds(new int[512]),
              PROMPTS.fromIds(new int[128], Mode.SELF),
              PROMPTS.jointFromIds(new int[1]));
      AttentionMask mask = AttentionMaskFactory.create(prompts, Layout.packed());
      int[] rows =
          IntStream.range(0, 3)
              .flatMap(
                  i ->
                      IntStream.concat(
                          mask.pooled(i, Mode.SELF).stream(), mask.pooled(i, Mode.NEXT).stream()))
              .toArray();
      Parts parts = new Weightless(config, type, float8 ? kernels : null);
      try (LlamaModel model = LlamaFactory.build(config, parts, kernels, type, 2048)) {

        Tensor states = model.forward(mask, rows, () -> {});

        assertThat(states.is_meta()).isTrue();
        assertThat(states.size(0)).isEqualTo(rows.length).isEqualTo(5 * 8);
        assertThat(states.size(1)).isEqualTo(4096);
        assertThat(states.scalar_type().intern()).isEqualTo(type);
      }
      assertThat(attention.queryRows).hasSize(32);
      assertThat(attention.queryRows.subList(0, 31)).containsOnly((long) mask.rows());
      assertThat(attention.queryRows.get(31)).isEqualTo(rows.length);
    }
  }
}
