package io.llara.train.pretrain;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.StorageType;
import io.llara.testing.Directories;
import io.llara.testing.RandomCheckpoint;
import io.llara.testing.Stories;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.checkpoint.VocabularyGrowth;
import io.llara.train.lora.LoraOptions;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;

/** Small runs of a {@link Pretrainer}, and what they leave behind. */
final class Runs {
  /** Markers of the released recipe and its two suffixes take most of it. */
  static final int MAX_TOKENS = 100;

  private static final String[] WORDS = {
    "time", "girl", "named", "Lily", "park", "ball", "dog", "friend", "happy", "big", "tree",
    "house", "mom", "found", "play", "red", "bird", "water", "little", "said"
  };

  private Runs() {}

  /**
   * Writes a model with random weights, two layers of width 16, that has the tokenizer of the small
   * pretrained LLaMA and the sixteen markers.
   */
  static Path model(Path dir, boolean tied) {
    LlamaConfig config =
        LlamaConfig.builder()
            .hiddenSize(16)
            .intermediateSize(24)
            .layers(2)
            .heads(4)
            .kvHeads(2)
            .headDim(4)
            .vocabularySize(512)
            .maxPositionEmbeddings(128)
            .tieWordEmbeddings(tied)
            .build();
    Path base = Directories.copy(Stories.dir(), dir.resolve("base"));
    try {
      Files.delete(base.resolve("config.json"));
      Files.delete(base.resolve("model.safetensors"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    RandomCheckpoint.write(base, config, StorageType.F32, 8);
    VocabularyGrowth.addMarkers(base, dir.resolve("model"), 1);
    return dir.resolve("model");
  }

  /** Writes pairs of a few words; about one target in three is empty. */
  static Path data(Path dir, int pairs) {
    Random random = new Random(4);
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < pairs; i++) {
      // Each line is a document of its own, so that some are held out.
      lines.add(pair(words(random, 2 + random.nextInt(5)), target(random), target(random)));
    }
    return write(dir.resolve("data.jsonl"), lines);
  }

  private static String target(Random random) {
    return random.nextInt(3) == 0 ? "" : words(random, 1 + random.nextInt(4));
  }

  static String words(Random random, int count) {
    List<String> words = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      words.add(WORDS[random.nextInt(WORDS.length)]);
    }
    return String.join(" ", words);
  }

  static String pair(String input, String self, String next) {
    JsonObject line = new JsonObject();
    line.addProperty("input", input);
    line.addProperty("output_summarize", self);
    line.addProperty("output_predict", next);
    return line.toString();
  }

  static Path write(Path file, List<String> lines) {
    try {
      return Files.write(file, lines);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
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

  /** Runs to the end. */
  static TrainingResult complete(Pretrainer.Builder builder) {
    return builder.build().run();
  }

  /** Runs and stops after a step; stops before the first if that is 0. */
  static TrainingResult stopAfter(long step, Pretrainer.Builder builder) {
    Pretrainer[] running = new Pretrainer[1];
    Pretrainer pretrainer =
        builder
            .listener(
                new TrainingListener() {
                  @Override
                  public void step(StepReport report) {
                    if (report.step() == step) {
                      running[0].stop();
                    }
                  }
                })
            .build();
    running[0] = pretrainer;
    if (step == 0) {
      pretrainer.stop();
    }
    return pretrainer.run();
  }

  /** Returns the lines of metrics.jsonl without the time that steps took. */
  static List<JsonObject> metrics(Path out) {
    List<JsonObject> lines = objects(out.resolve("metrics.jsonl"));
    lines.forEach(line -> line.remove("seconds"));
    return lines;
  }

  static List<JsonObject> evaluations(Path out) {
    Path file = out.resolve("evaluation.jsonl");
    return Files.exists(file) ? objects(file) : List.of();
  }

  private static List<JsonObject> objects(Path file) {
    try {
      return new ArrayList<>(
          Files.readAllLines(file).stream()
              .map(line -> JsonParser.parseString(line).getAsJsonObject())
              .toList());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Returns the values of a key in all lines. */
  static List<Double> values(List<JsonObject> lines, String key) {
    List<Double> values = new ArrayList<>();
    for (JsonObject line : lines) {
      values.add(line.get(key).isJsonNull() ? null : line.get(key).getAsDouble());
    }
    return values;
  }

  /** Returns the weights of a model directory. */
  static Map<String, float[]> weights(Path dir) {
    Map<String, float[]> weights = new LinkedHashMap<>();
    CheckpointDirectory.open(dir)
        .tensors()
        .forEach((name, entry) -> weights.put(name, entry.readFloats()));
    return weights;
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
