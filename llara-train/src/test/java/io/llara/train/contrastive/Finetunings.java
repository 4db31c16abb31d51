package io.llara.train.contrastive;

import com.google.common.hash.Hashing;
import com.google.common.io.MoreFiles;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.train.data.Dataset;
import io.llara.train.data.DatasetReader;
import io.llara.train.data.TrainingPair;
import io.llara.train.lora.LoraOptions;
import io.llara.train.teacher.TeacherTexts;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TrainingRuns;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Function;

/** Small runs of a {@link ContrastiveTrainer}, and their data. */
final class Finetunings {
  /** The prompts' own tokens take most of it. */
  static final int MAX_TOKENS = 72;

  private Finetunings() {}

  /** Writes pairs of a few words, some with fewer negatives than a group takes. */
  static Path data(Path dir, int pairs) {
    Random random = new Random(4);
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < pairs; i++) {
      // The number tells queries apart, so that some are held out.
      lines.add(
          pair(
              TrainingRuns.words(random, 2) + " " + i,
              passages(random, 1 + random.nextInt(2)),
              passages(random, 1 + random.nextInt(4))));
    }
    return TrainingRuns.write(dir.resolve("pairs.jsonl"), lines);
  }

  static List<String> passages(Random random, int count) {
    List<String> passages = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      passages.add(TrainingRuns.words(random, 2 + random.nextInt(4)));
    }
    return passages;
  }

  static String pair(String query, List<String> positives, List<String> negatives) {
    JsonObject line = new JsonObject();
    line.addProperty("query", query);
    line.add("pos", array(positives));
    line.add("neg", array(negatives));
    return line.toString();
  }

  private static JsonArray array(List<String> texts) {
    JsonArray array = new JsonArray();
    texts.forEach(array::add);
    return array;
  }

  /** The length of the vectors of {@link #teach}. */
  static final int TEACHER_DIMENSION = 6;

  /** Returns where the teacher's vectors of pairs are. */
  static Path teacher(Path data) {
    return data.resolveSibling(data.getFileName() + ".teacher.safetensors");
  }

  /** Writes vectors of all texts of pairs, any that depend on the text. */
  static void teach(Path data, Path out) {
    Encoder teacher =
        new Encoder() {
          @Override
          public float[] encode(String text, Mode mode) {
            return Numbers.random(TEACHER_DIMENSION, text.hashCode() + mode.ordinal());
          }

          @Override
          public int dimension() {
            return TEACHER_DIMENSION;
          }
        };
    TeacherTexts.read(List.of(data)).write(teacher, "random", out);
  }

  /** Returns a run of few and small steps over all parameters on one lane. */
  static ContrastiveTrainer.Builder full(Path model, Path data, Path out) {
    return configured(ContrastiveTrainer.builder(model, List.of(data), out));
  }

  /** Makes a run one of few and small steps over all parameters on one lane. */
  static ContrastiveTrainer.Builder configured(ContrastiveTrainer.Builder builder) {
    return builder
        .fullParameters()
        .steps(9)
        .batch(4)
        .negatives(2)
        .temperature(0.1)
        .learningRate(1e-3)
        .warmup(2)
        .queryMaxTokens(MAX_TOKENS)
        .passageMaxTokens(MAX_TOKENS + 8)
        .shuffleBuffer(8)
        .saveEvery(4)
        .threads(1)
        .computeType(ComputeType.FLOAT32)
        .seed(7);
  }

  /** Returns a run with everything that could go differently the second time but refreshes. */
  static ContrastiveTrainer.Builder lora(Path model, Path data, Path out) {
    return full(model, data, out)
        .lora(LoraOptions.DEFAULT.withRank(3).withDropout(0.2))
        .trainMarkers(true)
        .heldOut(0.2)
        .evaluateEvery(3)
        .evaluationTexts(5)
        .threads(2)
        .subBatch(3)
        .weightDecay(0.01)
        .recompute(true);
  }

  /** Returns a refresher whose negatives are a function of every bit of the model. */
  static NegativeRefresher byTheModel() {
    return (model, pairs, out) -> {
      Random random = new Random(digest(model));
      write(out, pairs, pair -> passages(random, 3));
    };
  }

  /** Returns a refresher whose negatives do not depend on the model. */
  static NegativeRefresher byTheLines() {
    return (model, pairs, out) -> {
      Random random = new Random(11);
      write(out, pairs, pair -> passages(random, 3));
    };
  }

  private static long digest(Path model) {
    try {
      return MoreFiles.asByteSource(model.resolve("model.safetensors"))
          .hash(Hashing.murmur3_128())
          .asLong();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Writes pairs with other negatives. */
  static void write(
      Path out, Dataset<TrainingPair> pairs, Function<TrainingPair, List<String>> negatives) {
    List<String> lines = new ArrayList<>();
    try (DatasetReader<TrainingPair> stream = pairs.open()) {
      stream.forEachRemaining(
          pair -> lines.add(pair(pair.query(), pair.positives(), negatives.apply(pair))));
    }
    TrainingRuns.write(out, lines);
  }
}
