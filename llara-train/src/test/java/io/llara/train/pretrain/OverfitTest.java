package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonObject;
import io.llara.ComputeType;
import io.llara.testing.Stories;
import io.llara.tokenize.Tokenizer;
import io.llara.train.checkpoint.VocabularyGrowth;
import io.llara.train.data.StopWords;
import io.llara.train.lora.LoraOptions;
import io.llara.train.optim.LearningRateSchedule.Decay;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TrainingRuns;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Every recipe can learn ten examples by heart, which takes all parts of its gradient. */
class OverfitTest {
  private static final String[] TEXTS = {
    "Lily saw a big red ball in the park.",
    "Tom had a small dog named Max.",
    "The bird sang a happy song.",
    "Mom made a cake for dinner.",
    "The sun was very hot today.",
    "A fish swam in the blue pond.",
    "Ben lost his toy car.",
    "The cat slept on the soft bed.",
    "They played with sand at the beach.",
    "Sue drew a tree and a house."
  };

  @TempDir static Path shared;
  private static Path model;
  private static Path data;

  @TempDir Path dir;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    model = shared.resolve("model");
    VocabularyGrowth.addMarkers(Stories.dir(), model, 1);
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < TEXTS.length; i++) {
      lines.add(Runs.pair(TEXTS[i], self(i), next(i)));
    }
    data = TrainingRuns.write(shared.resolve("ten.jsonl"), lines);
  }

  private static String self(int i) {
    return StopWords.english().strip(TEXTS[i]);
  }

  private static String next(int i) {
    return StopWords.english().strip(TEXTS[(i + 1) % TEXTS.length]);
  }

  private List<JsonObject> train(UnaryOperator<Pretrainer.Builder> change) {
    Path out = dir.resolve("out");
    TrainingRuns.complete(
        change.apply(
            Pretrainer.builder(model, List.of(data), out)
                .fullParameters()
                .batch(TEXTS.length)
                .steps(32)
                .learningRate(5e-3)
                .warmup(5)
                .decay(Decay.COSINE)
                .maxTokens(128)
                .computeType(ComputeType.FLOAT32)
                .threads(2)));
    return TrainingRuns.metrics(out);
  }

  /** The least that a term can be: the entropy of the targets, averaged over the examples. */
  private static double entropy(Recipe recipe, boolean next) {
    double sum = 0;
    try (Tokenizer tokenizer = Tokenizer.load(model)) {
      for (int i = 0; i < TEXTS.length; i++) {
        int[] ids = tokenizer.encodeText(next ? next(i) : self(i));
        Bag bag = recipe == Recipe.PAPER ? Bag.ofTokens(ids) : Bag.ofSet(ids);
        for (int j = 0; j < bag.size(); j++) {
          sum -= bag.weight(j) * Math.log(bag.weight(j));
        }
      }
    }
    return sum / TEXTS.length;
  }

  private static void assertFell(
      List<JsonObject> metrics, String term, double divisor, double least, double excess) {
    List<Double> values = TrainingRuns.values(metrics, term);
    double first = values.get(0) * divisor - least;
    double last = values.get(values.size() - 1) * divisor - least;
    assertThat(last)
        .as("%s above its least, %s; at first %s", term, least, first)
        .isBetween(0.0, excess);
    assertThat(first).as("%s above its least at first", term).isGreaterThan(2 * excess);
  }

  @Test
  void released() {
    List<JsonObject> metrics = train(builder -> builder.steps(60));
    assertFell(metrics, "ar_loss", 1, 0, 0.5);
    assertFell(metrics, "self_loss", 10, entropy(Recipe.RELEASED, false), 0.7);
    assertFell(metrics, "next_loss", 10, entropy(Recipe.RELEASED, true), 0.7);
  }

  @Test
  void paper() {
    List<JsonObject> metrics = train(builder -> builder.recipe(Recipe.PAPER));
    assertFell(metrics, "self_loss", 1, entropy(Recipe.PAPER, false), 0.7);
    assertFell(metrics, "next_loss", 1, entropy(Recipe.PAPER, true), 0.7);
    assertThat(TrainingRuns.values(metrics, "ar_loss")).containsOnlyNulls();
  }

  @Test
  void languageModelling() {
    List<JsonObject> metrics = train(builder -> builder.recipe(Recipe.LM));
    assertFell(metrics, "ar_loss", 1, 0, 0.5);
    assertThat(TrainingRuns.values(metrics, "self_loss")).containsOnlyNulls();
  }

  @Test
  @Tag("nightly")
  void releasedWithLora() {
    List<JsonObject> metrics =
        train(
            builder ->
                builder
                    .lora(LoraOptions.DEFAULT.withRank(16).withAlpha(32))
                    // Beside ten times as large a term of the text the others would take longer.
                    .weights(new LossWeights(1, 10, 10))
                    .steps(60)
                    .learningRate(2e-2));
    assertFell(metrics, "ar_loss", 1, 0, 0.5);
    assertFell(metrics, "self_loss", 10, entropy(Recipe.RELEASED, false), 0.7);
    assertFell(metrics, "next_loss", 10, entropy(Recipe.RELEASED, true), 0.7);
  }
}
