package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.ComputeType;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.RopeScaling;
import io.llara.checkpoint.StorageType;
import io.llara.kernels.NativeProjection;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import io.llara.testing.Directories;
import io.llara.testing.RandomCheckpoint;
import io.llara.testing.ReferenceLlama;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterProperty;
import net.jqwik.api.lifecycle.BeforeProperty;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Random small models of many shapes, batches of all kinds of prompts: hidden states equal those of
 * {@link ReferenceLlama}.
 */
class EngineReferenceTest {
  /**
   * Hidden states are near 1 after the norm; float32 sums of some hundred products lose about 1e-6
   * of that.
   */
  private static final double TOLERANCE = 1e-4;

  private static final int LONGEST = 200;

  private Path dir;

  @BeforeProperty
  void makeDirectory() {
    dir = Directories.temporary();
  }

  @AfterProperty
  void deleteDirectory() {
    Directories.delete(dir);
  }

  @Property(tries = 60, seed = "20260401")
  void hiddenStatesEqualTheReference(@ForAll("configs") LlamaConfig config, @ForAll int seed) {
    Random random = new Random(seed);
    CheckpointDirectory checkpoint = checkpoint(config, random);
    List<Prompt> prompts = prompts(random, config);
    ReferenceLlama reference = new ReferenceLlama(checkpoint);
    try (EncodingEngine engine = options(random).open(checkpoint)) {
      List<float[]> states = engine.hiddenStates(prompts);
      for (int i = 0; i < prompts.size(); i++) {
        assertClose(states.get(i), reference.hiddenStates(prompts.get(i)));
      }
    }
  }

  @Property(tries = 30, seed = "20260402")
  void pooledVectorsAreMeansOfTheReferencesRows(
      @ForAll("configs") LlamaConfig config, @ForAll int seed) {
    Random random = new Random(seed);
    CheckpointDirectory checkpoint = checkpoint(config, random);
    List<Prompt> prompts =
        prompts(random, config).stream()
            .filter(prompt -> prompt.selfLength() + prompt.nextLength() > 0)
            .toList();
    ReferenceLlama reference = new ReferenceLlama(checkpoint);
    try (EncodingEngine engine = options(random).open(checkpoint)) {
      List<PooledVectors> vectors = engine.encode(prompts);
      for (int i = 0; i < prompts.size(); i++) {
        double[][] states = reference.hiddenStates(prompts.get(i));
        for (Mode mode : Mode.values()) {
          TokenRange pooled = prompts.get(i).pooled(mode);
          if (!pooled.isEmpty()) {
            assertClose(vectors.get(i).get(mode), new double[][] {mean(states, pooled)});
          }
        }
      }
    }
  }

  @Property(tries = 20, seed = "20260403")
  void bfloat16StaysNearTheReference(@ForAll("wideConfigs") LlamaConfig config, @ForAll int seed) {
    // Eight bits of mantissa through up to three layers of random weights: a few per cent of each
    // component.
    checkCosine(ComputeType.BFLOAT16, config, seed, 0.995);
  }

  @Property(tries = 20, seed = "20260404")
  void int8StaysNearTheReference(@ForAll("wideConfigs") LlamaConfig config, @ForAll int seed) {
    assumeTrue(
        NativeProjection.available(ScalarType.Float), "no kernels are compiled for this machine");
    checkCosine(ComputeType.INT8, config, seed, 0.995);
  }

  private void checkCosine(ComputeType type, LlamaConfig config, int seed, double lowest) {
    Random random = new Random(seed);
    CheckpointDirectory checkpoint = checkpoint(config, random);
    List<Prompt> prompts = prompts(random, config);
    ReferenceLlama reference = new ReferenceLlama(checkpoint);
    EngineBuilder options =
        EncodingEngine.builder()
            .computeType(type)
            .packWeights(random.nextBoolean())
            .threads(1 + random.nextInt(2));
    try (EncodingEngine engine = options.open(checkpoint)) {
      List<float[]> states = engine.hiddenStates(prompts);
      for (int i = 0; i < prompts.size(); i++) {
        assertThat(Similarity.cosine(states.get(i), flat(reference.hiddenStates(prompts.get(i)))))
            .isGreaterThan(lowest);
      }
    }
  }

  @Provide
  Arbitrary<LlamaConfig> configs() {
    return configs(1);
  }

  /** In a handful of dimensions a rounded sum near zero turns a whole vector round. */
  @Provide
  Arbitrary<LlamaConfig> wideConfigs() {
    return configs(48);
  }

  private static Arbitrary<LlamaConfig> configs(int leastHidden) {
    Arbitrary<int[]> heads =
        Arbitraries.of(
            new int[] {1, 1},
            new int[] {2, 1},
            new int[] {4, 4},
            new int[] {4, 2},
            new int[] {6, 2});
    Arbitrary<RopeScaling> scaling =
        Arbitraries.of(
            RopeScaling.none(),
            new RopeScaling.Linear(2.5),
            new RopeScaling.Llama3(8, 1, 4, 32),
            new RopeScaling.Llama3(4, 1, 8, 100));
    return Combinators.combine(
            heads,
            Arbitraries.of(2, 6, 8, 16, 64),
            Arbitraries.integers().between(leastHidden, 80),
            Arbitraries.integers().between(1, 90),
            Arbitraries.integers().between(1, 3),
            scaling,
            Arbitraries.of(true, false),
            Arbitraries.of(true, false))
        .as(
            (head, dim, hidden, inner, layers, rope, bias, tied) ->
                LlamaConfig.builder()
                    .hiddenSize(hidden)
                    .intermediateSize(inner)
                    .layers(layers)
                    .heads(head[0])
                    .kvHeads(head[1])
                    .headDim(dim)
                    .vocabularySize(40)
                    .ropeScaling(rope)
                    .ropeTheta(dim < 8 ? 100 : 10_000)
                    .attentionBias(bias)
                    .tieWordEmbeddings(tied)
                    .build());
  }

  private CheckpointDirectory checkpoint(LlamaConfig config, Random random) {
    StorageType[] types = {StorageType.F32, StorageType.F16, StorageType.BF16};
    StorageType type = types[random.nextInt(types.length)];
    return CheckpointDirectory.open(RandomCheckpoint.write(dir, config, type, random.nextLong()));
  }

  private static EngineBuilder options(Random random) {
    return EncodingEngine.builder()
        .computeType(ComputeType.FLOAT32)
        .threads(1 + random.nextInt(2))
        .batchTokens(1 + random.nextInt(400))
        .packWeights(random.nextBoolean())
        .copyWeights(random.nextBoolean());
  }

  /** Short ones mostly: the reference takes its time. */
  private static List<Prompt> prompts(Random random, LlamaConfig config) {
    List<Prompt> prompts = new ArrayList<>();
    int count = 1 + random.nextInt(4);
    for (int i = 0; i < count; i++) {
      int longest = random.nextInt(3) == 0 ? LONGEST : 20;
      prompts.add(Prompts.any(random, config.vocabularySize(), longest));
    }
    return prompts;
  }

  private static double[] mean(double[][] rows, TokenRange range) {
    double[] mean = new double[rows[0].length];
    for (int row = range.begin(); row < range.end(); row++) {
      for (int i = 0; i < mean.length; i++) {
        mean[i] += rows[row][i] / range.length();
      }
    }
    return mean;
  }

  private static float[] flat(double[][] rows) {
    float[] flat = new float[rows.length * rows[0].length];
    for (int i = 0; i < flat.length; i++) {
      flat[i] = (float) rows[i / rows[0].length][i % rows[0].length];
    }
    return flat;
  }

  private static void assertClose(float[] actual, double[][] expected) {
    int hidden = expected[0].length;
    assertThat(actual).hasSize(expected.length * hidden);
    for (int i = 0; i < actual.length; i++) {
      assertThat((double) actual[i]).isCloseTo(expected[i / hidden][i % hidden], within(TOLERANCE));
    }
  }
}
