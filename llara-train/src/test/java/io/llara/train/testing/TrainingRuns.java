package io.llara.train.testing;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.StorageType;
import io.llara.testing.Directories;
import io.llara.testing.RandomCheckpoint;
import io.llara.testing.Stories;
import io.llara.train.StepReport;
import io.llara.train.Trainer;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.checkpoint.VocabularyGrowth;
import io.llara.train.run.RunBuilder;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** What small runs of any trainer begin with, how they are run, and what they leave behind. */
public final class TrainingRuns {
  private static final String[] WORDS = {
    "time", "girl", "named", "Lily", "park", "ball", "dog", "friend", "happy", "big", "tree",
    "house", "mom", "found", "play", "red", "bird", "water", "little", "said"
  };

  private TrainingRuns() {}

  /**
   * Writes a model with random weights, two layers of width 16, that has the tokenizer of the small
   * pretrained LLaMA and the sixteen markers.
   */
  public static Path model(Path dir, boolean tied) {
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

  /** Returns a few words that the tokenizer knows. */
  public static String words(Random random, int count) {
    List<String> words = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      words.add(WORDS[random.nextInt(WORDS.length)]);
    }
    return String.join(" ", words);
  }

  /** Writes a file. */
  public static Path write(Path file, List<String> lines) {
    try {
      return Files.write(file, lines);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Runs to the end. */
  public static TrainingResult complete(RunBuilder<?> builder) {
    return builder.build().run();
  }

  /** Runs and stops after a step; stops before the first if that is 0. */
  public static TrainingResult stopAfter(long step, RunBuilder<?> builder) {
    Trainer[] running = new Trainer[1];
    Trainer trainer =
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
    running[0] = trainer;
    if (step == 0) {
      trainer.stop();
    }
    return trainer.run();
  }

  /** Returns the lines of metrics.jsonl without the time that steps took. */
  public static List<JsonObject> metrics(Path out) {
    List<JsonObject> lines = objects(out.resolve("metrics.jsonl"));
    lines.forEach(line -> line.remove("seconds"));
    return lines;
  }

  /** Returns the lines of evaluation.jsonl, if there are any. */
  public static List<JsonObject> evaluations(Path out) {
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
  public static List<Double> values(List<JsonObject> lines, String key) {
    List<Double> values = new ArrayList<>();
    for (JsonObject line : lines) {
      values.add(line.get(key).isJsonNull() ? null : line.get(key).getAsDouble());
    }
    return values;
  }

  /** Returns the weights of a model directory. */
  public static Map<String, float[]> weights(Path dir) {
    Map<String, float[]> weights = new LinkedHashMap<>();
    CheckpointDirectory.open(dir)
        .tensors()
        .forEach((name, entry) -> weights.put(name, entry.readFloats()));
    return weights;
  }

  /** Fails unless two model directories have the same weights, bit by bit. */
  public static void assertSameWeights(Path actual, Path expected) {
    Map<String, float[]> right = weights(expected);
    Map<String, float[]> weights = weights(actual);
    assertThat(weights).containsOnlyKeys(right.keySet());
    right.forEach((name, values) -> assertThat(weights.get(name)).as(name).isEqualTo(values));
  }
}
