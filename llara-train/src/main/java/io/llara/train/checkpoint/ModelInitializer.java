package io.llara.train.checkpoint;

import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.WeightFiles;
import io.llara.io.AtomicFiles;
import io.llara.io.ByteChannels;
import io.llara.io.JsonSection;
import io.llara.io.StrictJson;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.SplittableRandom;

/**
 * Makes a model with random weights, to be trained from scratch.
 *
 * <p>Matrices are drawn from a normal distribution of mean 0 and the standard deviation that {@code
 * initializer_range} of the configuration says, 0.02 by default; norms are 1 and biases 0, as the
 * transformers library starts a LLaMA. Weights are stored in float32. The same configuration and
 * seed give the same weights on every machine.
 *
 * <pre>{@code
 * ModelInitializer.create(
 *     Path.of("config.json"), Path.of("llama2"), OptionalInt.of(8000), 42, Path.of("new"));
 * }</pre>
 */
public final class ModelInitializer {
  private static final double DEFAULT_DEVIATION = 0.02;
  private static final int CHUNK_BYTES = 1 << 20;
  private static final List<String> ID_KEYS =
      List.of("bos_token_id", "eos_token_id", "pad_token_id");

  private ModelInitializer() {}

  /**
   * Writes a new model directory: the configuration with all its keys, the tokenizer's files, and
   * {@code model.safetensors}. It appears under its name complete and on disk, or not at all.
   *
   * <p>With a vocabulary size, a BPE tokenizer is cut to that many tokens and the configuration's
   * {@code vocab_size} is set to it. Special tokens and bytes keep their ids; the rest are the
   * first tokens, and the single characters that these are made of, which in LLaMA's vocabularies
   * come last and move up. Merges among them are kept, so that it stays a whole tokenizer.
   *
   * @param configJson the configuration of a LLaMA
   * @param tokenizerDir a directory with a {@code tokenizer.json}
   * @param vocabulary the number of tokens, at most as many as the tokenizer has; empty to take the
   *     tokenizer as it is and the configuration's own {@code vocab_size}
   * @param seed of the weights
   * @param out a directory that does not exist or is empty
   * @throws ModelLoadException if the configuration or the tokenizer cannot be read, or the
   *     tokenizer or an id of the configuration does not fit the size of the vocabulary
   * @throws LlaraException if a special token has no place in a cut vocabulary, or the directory is
   *     not new or empty or cannot be written
   * @throws IllegalArgumentException if the vocabulary size is below 1 or above the tokenizer's
   */
  public static void create(
      Path configJson, Path tokenizerDir, OptionalInt vocabulary, long seed, Path out) {
    AtomicFiles.requireFree(out);
    LlamaConfig given = LlamaConfig.read(configJson);
    JsonSection section = StrictJson.modelFile(configJson);
    JsonObject config = section.json();
    double deviation = deviation(section);
    int size = vocabulary.orElse(given.vocabularySize());
    config.addProperty("vocab_size", size);
    ModelFiles.nameModelWithHead(config, given);
    ModelFiles.nameType(config, StorageType.F32);
    try (Tokenizer tokenizer = Tokenizer.load(tokenizerDir)) {
      int tokens = tokenizer.vocabularySize();
      if (vocabulary.isPresent() && (size < 1 || size > tokens)) {
        throw new IllegalArgumentException(
            "the vocabulary is to have %d tokens; expected 1 to %d, which the tokenizer %s has"
                .formatted(size, tokens, tokenizer));
      }
      if (vocabulary.isEmpty() && tokens > size) {
        throw new ModelLoadException(
            "%s: key 'vocab_size' is %d; the tokenizer %s has ids up to %d"
                .formatted(configJson, size, tokenizer, tokens - 1));
      }
      requireIdsBelow(size, section);
      AtomicFiles.writeDirectory(
          out,
          dir -> {
            AtomicFiles.writeJson(dir.resolve(CheckpointDirectory.CONFIG), config);
            if (size < tokens) {
              VocabularyCut.write(tokenizerDir, tokenizer, size, false, dir);
            } else {
              ModelFiles.copyTokenizer(tokenizerDir, dir);
            }
            Tokenizer.load(dir).close();
            writeWeights(
                LlamaConfig.read(dir.resolve(CheckpointDirectory.CONFIG)), deviation, seed, dir);
            CheckpointDirectory.open(dir);
          });
    }
  }

  private static double deviation(JsonSection config) {
    String key = "initializer_range";
    double deviation = config.number(key).orElse(DEFAULT_DEVIATION);
    if (!(deviation > 0)) {
      throw config.invalid(key, Double.toString(deviation), "a finite number above 0");
    }
    return deviation;
  }

  static void requireIdsBelow(int size, JsonSection config) {
    for (String key : ID_KEYS) {
      for (int id : config.integers(key)) {
        if (id >= size) {
          throw config.invalid(
              key,
              Integer.toString(id),
              "ids below %d, the size of the vocabulary".formatted(size));
        }
      }
    }
  }

  private static void writeWeights(LlamaConfig config, double deviation, long seed, Path dir) {
    // A generator for each tensor: neighbouring seeds of the plain generator resemble each other.
    SplittableRandom seeds = new SplittableRandom(seed);
    SafetensorsWriter writer = new SafetensorsWriter();
    LlamaTensors.all(config)
        .forEach(
            (name, shape) -> {
              long tensorSeed = seeds.nextLong();
              writer.add(
                  LlamaTensors.storedName(name),
                  StorageType.F32,
                  shape,
                  out ->
                      writeValues(
                          Arrays.stream(shape).reduce(1, Math::multiplyExact),
                          values(name, deviation, tensorSeed),
                          out));
            });
    writer.write(dir.resolve(WeightFiles.SINGLE_FILE));
  }

  private interface Values {
    float next();
  }

  private static Values values(String name, double deviation, long seed) {
    if (name.endsWith("norm.weight")) {
      return () -> 1;
    }
    if (name.endsWith(".bias")) {
      return () -> 0;
    }
    // Specified, and so the same in every release of Java.
    Random random = new Random(seed);
    return () -> (float) (deviation * random.nextGaussian());
  }

  private static void writeValues(long count, Values values, WritableByteChannel out)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(CHUNK_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (long left = count; left > 0; ) {
      buffer.clear();
      for (; left > 0 && buffer.hasRemaining(); left--) {
        buffer.putFloat(values.next());
      }
      ByteChannels.writeFully(out, buffer.flip());
    }
  }
}
