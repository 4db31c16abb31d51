package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.ComputeType;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.testing.Leaks;
import io.llara.testing.RandomCheckpoint;
import io.llara.testing.Vectors;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EncodingEngineTest {
  private static final LlamaConfig CONFIG =
      LlamaConfig.builder()
          .hiddenSize(24)
          .intermediateSize(40)
          .layers(2)
          .heads(4)
          .kvHeads(2)
          .vocabularySize(50)
          .tieWordEmbeddings(true)
          .build();

  private static final PromptBuilder PROMPTS =
      PromptBuilder.ofIds(new int[] {1}, new int[] {3, 4, 5}, new int[] {6, 7, 8, 9}, 2);

  @TempDir static Path dir;
  private static CheckpointDirectory checkpoint;
  private static EncodingEngine engine;

  @BeforeAll
  static void open() {
    checkpoint = CheckpointDirectory.open(RandomCheckpoint.write(dir, CONFIG, StorageType.F32, 5));
    engine = open(2, 64, true);
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  private static EncodingEngine open(int lanes, int batchTokens, boolean packed) {
    return EncodingEngine.builder()
        .computeType(ComputeType.FLOAT32)
        .threads(lanes)
        .batchTokens(batchTokens)
        .packWeights(packed)
        .maxTokens(100)
        .open(checkpoint);
  }

  private static List<Prompt> manyPrompts() {
    Random random = new Random(9);
    return IntStream.range(0, 40)
        .mapToObj(
            i -> {
              int[] ids = Prompts.ids(random, 50, 1 + random.nextInt(80));
              return switch (i % 3) {
                case 0 -> PROMPTS.fromIds(ids, Mode.SELF);
                case 1 -> PROMPTS.fromIds(ids, Mode.NEXT);
                default -> PROMPTS.jointFromIds(ids);
              };
            })
        .toList();
  }

  /** All vectors there are, of both modes, in order. */
  private static List<float[]> vectors(EncodingEngine engine, List<Prompt> prompts) {
    List<float[]> vectors = new ArrayList<>();
    List<PooledVectors> pooled = engine.encode(prompts);
    for (int i = 0; i < prompts.size(); i++) {
      for (Mode mode : Mode.values()) {
        if (!prompts.get(i).pooled(mode).isEmpty()) {
          vectors.add(pooled.get(i).get(mode));
        }
      }
    }
    return vectors;
  }

  @Test
  void theLastLayersPooledRowsEqualThoseOfAllRows() {
    List<Prompt> prompts = manyPrompts();
    List<float[]> expected = new ArrayList<>();
    List<float[]> states = engine.hiddenStates(prompts);
    for (int i = 0; i < prompts.size(); i++) {
      for (Mode mode : Mode.values()) {
        if (!prompts.get(i).pooled(mode).isEmpty()) {
          expected.add(mean(states.get(i), prompts.get(i).pooled(mode).begin(), 2));
        }
      }
    }
    Vectors.assertSame(vectors(engine, prompts), expected);
  }

  private static float[] mean(float[] states, int row, int count) {
    float[] mean = new float[24];
    for (int i = 0; i < count * 24; i++) {
      mean[i % 24] += states[row * 24 + i] / count;
    }
    return mean;
  }

  @Test
  void batchesAndLanesAndPackingDoNotMatter() {
    List<Prompt> prompts = manyPrompts();
    List<float[]> expected = vectors(engine, prompts);
    for (int lanes : new int[] {1, 3}) {
      for (int batchTokens : new int[] {1, 100, 5000}) {
        for (boolean packed : new boolean[] {false, true}) {
          try (EncodingEngine other = open(lanes, batchTokens, packed)) {
            Vectors.assertSame(vectors(other, prompts), expected);
          }
        }
      }
    }
  }

  @Test
  void aJointPromptEqualsTwoPrompts() {
    int[] ids = Prompts.ids(new Random(4), 50, 60);
    PooledVectors both = engine.encode(List.of(PROMPTS.jointFromIds(ids))).get(0);

    for (Mode mode : Mode.values()) {
      Vectors.assertSame(
          both.get(mode), engine.encode(List.of(PROMPTS.fromIds(ids, mode))).get(0).get(mode));
    }
  }

  @Test
  void aPromptOfOneModeHasNoVectorOfTheOther() {
    PooledVectors self = engine.encode(List.of(PROMPTS.fromIds(new int[] {11}, Mode.SELF))).get(0);

    assertThat(self.next()).isNull();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> self.get(Mode.NEXT))
        .withMessageContaining("NEXT");
  }

  @Test
  void nothingGivesNothing() {
    assertThat(engine.encode(List.of())).isEmpty();
  }

  @Test
  void promptsOfTheGreatestLengthRun() {
    assertThat(engine.hiddenStates(Prompts.plain(100)).get(0)).hasSize(100 * 24);
  }

  @Test
  void aJointPromptCountsByItsPositions() {
    // 1 + 95 + 3 + 4 tokens, but no position beyond 99.
    assertThat(engine.encode(List.of(PROMPTS.jointFromIds(new int[95])))).hasSize(1);
  }

  @Test
  void refusesPromptsThatAreTooLong() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> engine.hiddenStates(Prompts.plain(101)))
        .withMessageContainingAll("101", "100");
  }

  @Test
  void refusesIdsOutsideOfTheVocabulary() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> engine.hiddenStates(List.of(Prompt.plain(new int[] {3, 50}))))
        .withMessageContaining("50");
  }

  @Test
  void refusesToPoolAPlainPrompt() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> engine.encode(Prompts.plain(5)))
        .withMessageContaining("suffix");
  }

  @Test
  void logitsOfATiedHeadAreProductsWithTheEmbedding() {
    float[] embedding = checkpoint.tensor(LlamaTensors.EMBEDDING).readFloats();
    float[] row = Arrays.copyOfRange(embedding, 24, 48);

    float[] logits = engine.logits(row);

    assertThat(logits).hasSize(50);
    double expected = 0;
    for (int i = 0; i < 24; i++) {
      expected += row[i] * embedding[49 * 24 + i];
    }
    assertThat((double) logits[49]).isCloseTo(expected, within(1e-5));
  }

  @Test
  void logitsWantWholeRows() {
    assertThatIllegalArgumentException().isThrownBy(() -> engine.logits(new float[25]));
    assertThat(engine.logits(new float[0])).isEmpty();
  }

  @Test
  void withoutAHeadThereAreNoLogits(@TempDir Path headless) {
    LlamaConfig untied =
        LlamaConfig.builder()
            .hiddenSize(8)
            .intermediateSize(8)
            .layers(1)
            .heads(1)
            .vocabularySize(9)
            .build();
    RandomCheckpoint.writeConfig(headless, untied);
    SafetensorsWriter writer = new SafetensorsWriter();
    LlamaTensors.required(untied)
        .forEach(
            (name, shape) ->
                writer.add(name, StorageType.F32, shape, RandomCheckpoint.values(name, shape, 1)));
    writer.write(headless.resolve("model.safetensors"));
    try (EncodingEngine bare =
        EncodingEngine.builder().threads(1).open(CheckpointDirectory.open(headless))) {
      assertThatThrownBy(() -> bare.logits(new float[8]))
          .isInstanceOf(UnsupportedModelException.class)
          .hasMessageContaining("lm_head");
    }
  }

  @Test
  void anInterruptEndsTheWaitAndStaysSet() {
    Thread.currentThread().interrupt();

    assertThatThrownBy(() -> engine.encode(manyPrompts()))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("interrupted");
    assertThat(Thread.interrupted()).isTrue();
    assertThat(vectors(engine, manyPrompts())).isNotEmpty();
  }

  @Test
  void lanesOutliveWhateverABatchThrows() {
    Pooler<String> broken =
        new Pooler<>() {
          @Override
          public IntStream tokens(Prompt prompt) {
            return Pooler.NONE.tokens(prompt);
          }

          @Override
          public String pool(Prompt prompt, float[] states, int begin, int hidden) {
            throw new StackOverflowError("too deep");
          }
        };
    for (int i = 0; i < 3 * engine.lanes(); i++) {
      assertThatThrownBy(() -> Work.await(engine.submit(Prompts.plain(9), broken)))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining("too deep")
          .hasCauseInstanceOf(StackOverflowError.class);
    }
    assertThat(vectors(engine, manyPrompts())).isNotEmpty();
  }

  @Test
  void aSingleTextIsDoneBeforeABatchThatRuns() {
    Prompt query = PROMPTS.fromIds(new int[] {10, 11, 12}, Mode.NEXT);
    float[] expected = engine.encode(query).get(Mode.NEXT);
    List<float[]> corpus = vectors(engine, manyPrompts());
    try (EncodingEngine one = open(1, 5000, true)) {
      AtomicReference<Work<PooledVectors>> single = new AtomicReference<>();
      Pooler<Boolean> asking =
          new Pooler<>() {
            @Override
            public IntStream tokens(Prompt prompt) {
              if (Thread.currentThread().getName().startsWith("llara-lane")
                  && single.get() == null) {
                single.set(one.submit(query)); // The batch's forward pass is about to begin.
              }
              return Pooler.NONE.tokens(prompt);
            }

            @Override
            public Boolean pool(Prompt prompt, float[] states, int begin, int hidden) {
              return single.get().isDone();
            }
          };

      assertThat(Work.await(one.submit(manyPrompts(), asking))).doesNotContain(false).hasSize(40);
      Vectors.assertSame(List.of(single.get().join().get(Mode.NEXT)), List.of(expected));
      Vectors.assertSame(vectors(one, manyPrompts()), corpus);
    }
  }

  @Test
  void isOfNoUseOnceClosed() {
    EncodingEngine closed = open(2, 64, true);
    closed.close();
    closed.close();

    assertThatThrownBy(() -> closed.hiddenStates(Prompts.plain(3)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
  }

  @Test
  void openingRunningAndClosingLeaksNothing() throws Throwable {
    for (boolean packed : new boolean[] {false, true}) {
      Leaks.assertNone(
          () -> {
            try (EncodingEngine other = open(2, 64, packed)) {
              other.encode(manyPrompts());
              other.hiddenStates(manyPrompts());
              other.logits(new float[24]);
              assertThatIllegalArgumentException().isThrownBy(() -> other.encode(Prompts.plain(5)));
            }
          });
    }
  }
}
