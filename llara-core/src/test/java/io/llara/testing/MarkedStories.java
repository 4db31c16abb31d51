package io.llara.testing;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/**
 * Copies of the small pretrained LLaMA with changes, above all one with the sixteen markers of the
 * released Llama2Vec recipe.
 */
public final class MarkedStories {
  private static final int MARKERS = 16;
  private static final String WEIGHTS = "model.safetensors";

  private MarkedStories() {}

  /**
   * Writes the model with markers {@code <s1>}…{@code <s16>}, whose ids are not in the order of
   * their names.
   */
  public static Path write(Path dir) {
    Directories.copy(Stories.dir(), dir);
    dir.resolve("llara.json").toFile().delete();
    int[] vocabulary = new int[1];
    changeJson(
        dir.resolve("config.json"),
        config -> {
          vocabulary[0] = config.get("vocab_size").getAsInt();
          config.addProperty("vocab_size", vocabulary[0] + MARKERS);
        });
    changeJson(
        dir.resolve("tokenizer.json"),
        tokenizer -> {
          JsonArray added = tokenizer.getAsJsonArray("added_tokens");
          for (int i = 0; i < MARKERS; i++) {
            added.add(marker("<s" + (i + 1) + ">", vocabulary[0] + i * 5 % MARKERS));
          }
        });
    changeWeights(dir, entry -> isEmbedding(entry) ? withMoreRows(entry) : entry.readFloats());
    return dir;
  }

  private static JsonObject marker(String name, int id) {
    JsonObject token = new JsonObject();
    token.addProperty("id", id);
    token.addProperty("content", name);
    for (String no : new String[] {"single_word", "lstrip", "rstrip", "normalized"}) {
      token.addProperty(no, false);
    }
    token.addProperty("special", true);
    return token;
  }

  /** Returns whether a tensor is the embedding matrix. */
  public static boolean isEmbedding(TensorEntry entry) {
    return entry.name().endsWith("embed_tokens.weight");
  }

  private static float[] withMoreRows(TensorEntry entry) {
    float[] old = entry.readFloats();
    int hidden = (int) entry.shape()[1];
    float[] values = Arrays.copyOf(old, old.length + MARKERS * hidden);
    Random random = new Random(16);
    for (int i = old.length; i < values.length; i++) {
      values[i] = (float) (random.nextGaussian() * 0.5);
    }
    return values;
  }

  /** How a tensor's values change. */
  @FunctionalInterface
  public interface Change {
    /** Returns the new values: as many as before, or for a matrix more or fewer whole rows. */
    float[] apply(TensorEntry entry);
  }

  /** Rewrites the weights of a directory. */
  public static void changeWeights(Path dir, Change change) {
    SafetensorsWriter writer = new SafetensorsWriter();
    Map<String, TensorEntry> entries = SafetensorsFile.open(dir.resolve(WEIGHTS)).entries();
    entries.forEach(
        (name, entry) -> {
          float[] values = change.apply(entry);
          long[] shape = entry.shape();
          shape[0] = shape.length == 1 ? values.length : values.length / shape[1];
          writer.add(name, StorageType.F32, shape, values);
        });
    writer.write(dir.resolve(WEIGHTS));
  }

  /** Changes a JSON file that holds an object. */
  public static void changeJson(Path file, Consumer<JsonObject> change) {
    changeText(
        file,
        text -> {
          JsonObject json = JsonParser.parseString(text).getAsJsonObject();
          change.accept(json);
          return json.toString();
        });
  }

  private static void changeText(Path file, UnaryOperator<String> change) {
    try {
      Files.writeString(file, change.apply(Files.readString(file)));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
