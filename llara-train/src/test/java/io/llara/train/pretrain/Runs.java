package io.llara.train.pretrain;

import com.google.gson.JsonObject;
import io.llara.ComputeType;
import io.llara.train.lora.LoraOptions;
import io.llara.train.testing.TrainingRuns;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.UnaryOperator;

/** Small runs of a {@link Pretrainer}, and what they leave behind. */
final class Runs {
  /** Markers of the released recipe and its two suffixes take most of it. */
  static final int MAX_TOKENS = 100;

  private Runs() {}

  /** Writes pairs of a few words; about one target in three is empty. */
  static Path data(Path dir, int pairs) {
    Random random = new Random(4);
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < pairs; i++) {
      // Each line is a document of its own, so that some are held out.
      String text = TrainingRuns.words(random, 2 + random.nextInt(5));
      lines.add(pair(text, target(random), target(random)));
    }
    return TrainingRuns.write(dir.resolve("data.jsonl"), lines);
  }

  private static String target(Random random) {
    return random.nextInt(3) == 0 ? "" : TrainingRuns.words(random, 1 + random.nextInt(4));
  }

  static String pair(String input, String self, String next) {
    JsonObject line = new JsonObject();
    line.addProperty("input", input);
    line.addProperty("output_summarize", self);
    line.addProperty("output_predict", next);
    return line.toString();
  }

  /** Returns a run of few and small steps over all parameters on one lane. */
  static Pretrainer.Builder full(Path model, Path data, Path out) {
    return Pretrainer.builder(model, List.of(data), out)
        .fullParameters()
        .steps(9)
        .batch(4)
        .learningRate(1e-3)
        .warmup(2)
        .maxTokens(MAX_TOKENS)
        .shuffleBuffer(8)
        .saveEvery(4)
        .threads(1)
        .computeType(ComputeType.FLOAT32)
        .seed(7);
  }

  /** Returns a run with everything that could go differently the second time. */
  static Pretrainer.Builder lora(Path model, Path data, Path out) {
    return full(model, data, out)
        .lora(LoraOptions.DEFAULT.withRank(3).withDropout(0.2))
        .heldOut(0.2)
        .evaluateEvery(3)
        .evaluationTexts(5)
        .threads(2)
        .microBatches(2)
        .weightDecay(0.01)
        .recompute(true);
  }

  /** A kind of run, for parameterised tests. */
  @FunctionalInterface
  interface Kind {
    Pretrainer.Builder builder(Path model, Path data, Path out);

    /** Returns this kind with a change. */
    default Kind with(UnaryOperator<Pretrainer.Builder> change) {
      return (model, data, out) -> change.apply(builder(model, data, out));
    }
  }
}
