package io.llara.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.LlaraException;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.kernels.LibtorchKernels;
import io.llara.kernels.PackedProjection;
import io.llara.prompt.Prompt;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.testing.RandomCheckpoint;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class LlamaModelTest {
  private static final LlamaConfig CONFIG =
      LlamaConfig.builder()
          .hiddenSize(12)
          .intermediateSize(10)
          .layers(3)
          .heads(2)
          .kvHeads(1)
          .vocabularySize(20)
          .attentionBias(true)
          .build();

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  /** Random weights, until one more than {@code limit} is asked for. */
  private record RandomWeights(int limit, AtomicInteger loaded) implements WeightSource {
    RandomWeights(int limit) {
      this(limit, new AtomicInteger());
    }

    @Override
    public boolean has(String name) {
      return LlamaTensors.required(CONFIG).containsKey(name);
    }

    @Override
    public Tensor load(String name, ScalarType type, Use use) {
      long[] shape = LlamaTensors.required(CONFIG).get(name);
      if (loaded.getAndIncrement() == limit) {
        throw new LlaraException("no more weights");
      }
      try (TensorScope scope = new TensorScope()) {
        return scope.own(Tensors.ofFloats(RandomCheckpoint.values(name, shape, 1), shape).to(type));
      }
    }

    @Override
    public ScalarType storedType(String name, ScalarType preferred) {
      return preferred;
    }
  }

  private static LlamaModel build(WeightSource weights, boolean packed) {
    return LlamaFactory.build(
        CONFIG,
        new StoredParts(weights, ScalarType.Float, packed, 32),
        new LibtorchKernels(),
        ScalarType.Float,
        64);
  }

  private static AttentionMask mask(int... ids) {
    return AttentionMaskFactory.create(List.of(Prompt.plain(ids)), Layout.packed());
  }

  @Test
  void rowsThatAreAskedForEqualThoseOfAllRows() {
    try (TensorScope scope = new TensorScope();
        LlamaModel model = build(new RandomWeights(99), false)) {
      AttentionMask mask = mask(3, 1, 4, 1, 5, 9, 2, 6);
      float[] all =
          Tensors.toFloats(model.forward(mask, IntStream.range(0, 8).toArray(), () -> {}));

      float[] some = Tensors.toFloats(model.forward(mask, new int[] {0, 4, 5, 7}, () -> {}));

      int[] rows = {0, 4, 5, 7};
      for (int i = 0; i < some.length; i++) {
        assertThat(some[i]).isCloseTo(all[rows[i / 12] * 12 + i % 12], within(1e-5f));
      }
    }
  }

  @Test
  void asksBetweenLayersWhetherToGoOn() {
    AtomicInteger asked = new AtomicInteger();
    try (TensorScope scope = new TensorScope();
        LlamaModel model = build(new RandomWeights(99), false)) {
      model.forward(mask(1, 2), new int[] {1}, asked::incrementAndGet);
    }
    assertThat(asked).hasValue(3);
  }

  @Test
  void anAbandonedPassLeaksNothing() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope();
              LlamaModel model =
                  build(new RandomWeights(99), PackedProjection.available(ScalarType.Float))) {
            AtomicInteger left = new AtomicInteger(2);
            assertThatThrownBy(
                    () ->
                        model.forward(
                            mask(1, 2, 3),
                            new int[] {1},
                            () -> {
                              if (left.decrementAndGet() == 0) {
                                throw new LlaraException("enough");
                              }
                            }))
                .hasMessage("enough");
          }
        });
  }

  @Test
  void aModelThatCannotBeLoadedToItsEndLeaksNothing() throws Throwable {
    int weights = LlamaTensors.required(CONFIG).size();
    for (boolean packed : new boolean[] {false, PackedProjection.available(ScalarType.Float)}) {
      Leaks.assertNone(
          () -> {
            for (int limit = 0; limit < weights; limit++) {
              RandomWeights source = new RandomWeights(limit);
              assertThatThrownBy(() -> build(source, packed)).hasMessage("no more weights");
            }
          });
    }
  }

  @Test
  void refusesIdsOutsideOfTheVocabulary() {
    try (LlamaModel model = build(new RandomWeights(99), false)) {
      model.requireKnown(new int[] {0, 19});
      for (int unknown : new int[] {-1, 20}) {
        assertThatIllegalArgumentException()
            .isThrownBy(() -> model.requireKnown(new int[] {3, unknown}))
            .withMessageContaining(String.valueOf(unknown));
      }
    }
  }

  @Test
  void refusesPositionsBeyondItsTable() {
    try (TensorScope scope = new TensorScope();
        LlamaModel model = build(new RandomWeights(99), false)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> model.forward(mask(new int[65]), new int[] {0}, () -> {}))
          .withMessageContaining("64");
    }
  }
}
