package io.llara.train.testing;

import com.google.common.io.Resources;
import com.google.common.primitives.Doubles;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.StorageType;
import io.llara.testing.Directories;
import io.llara.testing.RandomCheckpoint;
import io.llara.testing.Shared;
import io.llara.train.checkpoint.VocabularyGrowth;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.StreamSupport;

/**
 * The toy data of the released code, and what that code makes of it in ten steps: recorded by
 * {@code benchmarks/scripts/llara-preset.py}. The data is shared test data.
 */
public final class LlaraToy {
  /** How many steps are recorded. */
  public static final int STEPS = 10;

  private final JsonObject expected;

  private LlaraToy(JsonObject expected) {
    this.expected = expected;
  }

  /** Returns what was recorded of a stage: {@code pretrain} or {@code finetune}. */
  public static LlaraToy stage(String name) {
    try {
      return new LlaraToy(
          JsonParser.parseString(
                  Resources.toString(
                      Resources.getResource("io/llara/train/preset/llara-toy.json"),
                      StandardCharsets.UTF_8))
              .getAsJsonObject()
              .getAsJsonObject(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Returns a file of the toy data; without the shared test data the test is skipped. */
  public static List<Path> data(String name) {
    return List.of(Shared.require().resolve("data/llara-toy").resolve(name));
  }

  /** Writes a model of two narrow layers with the tokenizer of LLaMA 2 and the sixteen markers. */
  public static Path model(Path dir) {
    Path base =
        Directories.copy(Shared.require().resolve("data/tokenizers/llama2"), dir.resolve("llama2"));
    LlamaConfig config =
        LlamaConfig.builder()
            .hiddenSize(8)
            .intermediateSize(12)
            .layers(2)
            .heads(2)
            .kvHeads(1)
            .headDim(4)
            .vocabularySize(32000)
            .maxPositionEmbeddings(256)
            .tieWordEmbeddings(true)
            .build();
    RandomCheckpoint.write(base, config, StorageType.F32, 8);
    VocabularyGrowth.addMarkers(base, dir.resolve("model"), 1);
    return dir.resolve("model");
  }

  /** Returns the learning rate of each step. */
  public List<Double> learningRates() {
    return Doubles.asList(
        StreamSupport.stream(expected.getAsJsonArray("learning_rates").spliterator(), false)
            .mapToDouble(JsonElement::getAsDouble)
            .toArray());
  }

  /** Returns the numbers that stand under a key of a step, from 0. */
  public List<Long> step(int step, String key) {
    JsonArray steps = expected.getAsJsonArray("steps");
    return StreamSupport.stream(
            steps.get(step).getAsJsonObject().getAsJsonArray(key).spliterator(), false)
        .map(JsonElement::getAsLong)
        .toList();
  }
}
