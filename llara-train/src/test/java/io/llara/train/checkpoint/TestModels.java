package io.llara.train.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.model.CheckpointWeights;
import io.llara.model.WeightSource;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Directories;
import io.llara.testing.MarkedStories;
import io.llara.testing.Stories;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Copies of the small pretrained LLaMA for the tests of this package, and what they look at. */
final class TestModels {
  static final int VOCABULARY = 512;
  static final int HIDDEN = 64;
  static final int MARKERS = 16;

  private TestModels() {}

  static Path stories(Path dir) {
    Directories.copy(Stories.dir(), dir);
    dir.resolve("llara.json").toFile().delete();
    return dir;
  }

  static JsonObject json(Path file) {
    try {
      return JsonParser.parseString(Files.readString(file)).getAsJsonObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static void change(Path file, Consumer<JsonObject> change) {
    MarkedStories.changeJson(file, change);
  }

  /** Adds a token to tokenizer.json. */
  static void addToken(Path dir, String name, int id, boolean special) {
    change(
        dir.resolve("tokenizer.json"),
        tokenizer -> {
          JsonObject token = new JsonObject();
          token.addProperty("id", id);
          token.addProperty("content", name);
          for (String no : List.of("single_word", "lstrip", "rstrip", "normalized")) {
            token.addProperty(no, false);
          }
          token.addProperty("special", special);
          tokenizer.getAsJsonArray("added_tokens").add(token);
        });
  }

  /** Returns a matrix of the embedding's width whose values are all different. */
  static float[] rows(int count) {
    Random random = new Random(count);
    float[] values = new float[count * HIDDEN];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (3 + random.nextGaussian());
    }
    return values;
  }

  /**
   * Splits the weights into two shards, the embedding in the first; the second also holds rotary
   * frequencies as old exports do, and a head if there is one.
   */
  static void shard(Path dir, StorageType type, float[] head) throws IOException {
    Path single = dir.resolve("model.safetensors");
    SafetensorsWriter[] shards = {new SafetensorsWriter(), new SafetensorsWriter()};
    shards[0].metadata("origin", "test");
    JsonObject map = new JsonObject();
    List<String> names =
        List.of("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    SafetensorsFile.open(single)
        .entries()
        .forEach(
            (name, entry) -> {
              int shard = name.contains("embed") || name.contains("layers.0.") ? 0 : 1;
              shards[shard].add(name, type, entry.shape(), entry.readFloats());
              map.addProperty(name, names.get(shard));
            });
    String rotary = "model.layers.0.self_attn.rotary_emb.inv_freq";
    shards[1].add(rotary, StorageType.F32, new long[] {2}, new float[] {1, 2});
    map.addProperty(rotary, names.get(1));
    if (head.length > 0) {
      shards[1].add("lm_head.weight", type, new long[] {head.length / HIDDEN, HIDDEN}, head);
      map.addProperty("lm_head.weight", names.get(1));
    }
    for (int i = 0; i < 2; i++) {
      shards[i].write(dir.resolve(names.get(i)));
    }
    JsonObject totals = new JsonObject();
    totals.addProperty("total_size", 1_000_000);
    JsonObject index = new JsonObject();
    index.add("metadata", totals);
    index.add("weight_map", map);
    Files.writeString(dir.resolve("model.safetensors.index.json"), index.toString());
    Files.delete(single);
  }

  /** Replaces the embedding matrix by one with more rows, all different, beyond the old ones. */
  static void padEmbedding(Path dir, int rows) {
    change(dir.resolve("config.json"), config -> config.addProperty("vocab_size", rows));
    MarkedStories.changeWeights(
        dir,
        entry -> {
          float[] values = entry.readFloats();
          if (!MarkedStories.isEmbedding(entry)) {
            return values;
          }
          float[] more = rows(rows);
          System.arraycopy(values, 0, more, 0, values.length);
          return more;
        });
  }

  /** Returns a weight as a model computes with it in float32. */
  static float[] floats(CheckpointDirectory checkpoint, String name) {
    try (CheckpointWeights weights = new CheckpointWeights(checkpoint, null, true);
        TensorScope scope = new TensorScope()) {
      return Tensors.toFloats(
          TensorScope.adopt(weights.load(name, ScalarType.Float, WeightSource.Use.PASSING)));
    }
  }

  /** Returns all tensors of the weight files of a directory, by the names they have there. */
  static Map<String, TensorEntry> entries(Path dir) {
    Map<String, TensorEntry> entries = new LinkedHashMap<>();
    for (Path file : files(dir)) {
      if (file.toString().endsWith(".safetensors")) {
        entries.putAll(SafetensorsFile.open(file).entries());
      }
    }
    return entries;
  }

  static List<Path> files(Path dir) {
    try (Stream<Path> files = Files.list(dir)) {
      return files.sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Checks that a failed call left nothing beside what was there. */
  static void assertHolds(Path dir, String... names) {
    assertThat(files(dir)).extracting(file -> file.getFileName().toString()).containsOnly(names);
  }

  static JsonArray added(Path dir) {
    return json(dir.resolve("tokenizer.json")).getAsJsonArray("added_tokens");
  }
}
