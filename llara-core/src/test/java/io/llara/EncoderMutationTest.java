package io.llara;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Leaks;
import io.llara.testing.MarkedStories;
import io.llara.testing.Vectors;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Damaged files of a working model: loading and encoding give an error of ours or unit vectors,
 * never a crash, and leak nothing. Each case has its own seed, its number, so that one that fails
 * can be run alone.
 */
class EncoderMutationTest {
  private static final List<String> FILES =
      List.of(
          "config.json",
          "tokenizer.json",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "llara.json",
          "model.safetensors");

  /** Values that have broken readers of JSON before. */
  private static final List<String> VALUES =
      List.of(
          "null",
          "true",
          "0",
          "-1",
          "1",
          "2",
          "3",
          "511",
          "528",
          "65536",
          "2147483647",
          "2147483648",
          "9223372036854775807",
          "1e308",
          "1e-320",
          "0.5",
          "1e999",
          "\"\"",
          "\"x\"",
          "\"<s1>\"",
          "\"\\u0000\"",
          "\"\\ud800\"",
          "[]",
          "{}",
          "[[1]]",
          "{\"type\":\"BPE\"}",
          "[\"a\",\"b\"]");

  @TempDir Path dir;

  @Test
  void fiveHundredDamagedModels() throws Exception {
    run(0, 500);
  }

  @Test
  @Tag("nightly")
  void tenThousandDamagedModels() throws Exception {
    run(500, 10_500);
  }

  private void run(int first, int end) throws Exception {
    MarkedStories.write(dir);
    new LlaraJson(
            PromptTemplate.builder("t").prefix("p").selfMarkers("<s1>").nextMarkers("<s2>").build(),
            true,
            OptionalInt.of(40),
            OptionalInt.of(64))
        .write(dir);
    List<byte[]> originals = new ArrayList<>();
    for (String file : FILES) {
      originals.add(Files.readAllBytes(dir.resolve(file)));
    }
    assertThat(encode()).as("the model works before it is damaged").isTrue();
    long before = Leaks.liveObjects();
    int survived = 0;
    for (int seed = first; seed < end; seed++) {
      Random random = new Random(seed);
      int file = random.nextInt(FILES.size());
      byte[] damaged = damage(FILES.get(file), originals.get(file), random);
      replace(FILES.get(file), damaged);
      try {
        survived += encode() ? 1 : 0;
      } catch (Throwable e) {
        throw new AssertionError("seed " + seed + ", " + FILES.get(file), e);
      }
      replace(FILES.get(file), originals.get(file));
    }
    // Fewer are no leak: what earlier tests left behind may be collected meanwhile.
    assertThat(Leaks.liveObjects()).isLessThanOrEqualTo(before);
    // Both ways out are taken, or the damage is not worth its name.
    assertThat(survived).isBetween((end - first) / 20, (end - first) * 19 / 20);
  }

  /** A new file under the old name: a file that is mapped must not change in place. */
  private void replace(String file, byte[] bytes) throws IOException {
    Files.delete(dir.resolve(file));
    Files.write(dir.resolve(file), bytes);
  }

  /** Returns whether there were vectors; false for an error of ours. */
  private boolean encode() {
    try (Encoder encoder =
        Encoder.builder(dir).computeType(ComputeType.FLOAT32).threads(1).build()) {
      for (Mode mode : Mode.values()) {
        for (float[] embedding : encoder.encodeAll(List.of("a dog", "</s> 🦙 once upon"), mode)) {
          Vectors.assertUnit(embedding);
        }
      }
      return true;
    } catch (LlaraException | IllegalArgumentException e) {
      assertThat(e.getMessage()).isNotBlank();
      return false;
    }
  }

  private static byte[] damage(String file, byte[] original, Random random) {
    boolean json = file.endsWith(".json");
    byte[] bytes = original;
    for (int i = 0; i <= random.nextInt(3); i++) {
      if (random.nextBoolean()) {
        bytes = damageBytes(bytes, json ? bytes.length : Math.min(bytes.length, 6000), random);
      } else if (json) {
        bytes = damageJson(bytes, random);
      } else {
        bytes = random.nextBoolean() ? damageHeader(bytes, random) : damageWeights(bytes, random);
      }
    }
    return bytes;
  }

  /** Flips, cuts, inserts or doubles bytes before {@code end}. */
  private static byte[] damageBytes(byte[] bytes, int end, Random random) {
    if (bytes.length == 0 || end == 0) {
      return new byte[] {(byte) random.nextInt()};
    }
    int at = random.nextInt(end);
    int length = 1 + random.nextInt(Math.min(40, bytes.length - at));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(bytes, 0, at);
    switch (random.nextInt(5)) {
      case 0 -> {
        out.write(bytes[at] ^ (1 << random.nextInt(8)));
        out.write(bytes, at + 1, bytes.length - at - 1);
      }
      case 1 -> out.write(bytes, at, random.nextInt(bytes.length - at));
      case 2 -> out.write(bytes, at + length, bytes.length - at - length);
      case 3 -> {
        out.write(bytes, at, length);
        out.write(bytes, at, bytes.length - at);
      }
      default -> {
        for (int i = 0; i < length; i++) {
          out.write(random.nextInt());
        }
        out.write(bytes, at, bytes.length - at);
      }
    }
    return out.toByteArray();
  }

  /** Replaces, removes or adds one value somewhere in a JSON text. */
  private static byte[] damageJson(byte[] bytes, Random random) {
    JsonElement root;
    try {
      root = JsonParser.parseString(new String(bytes, StandardCharsets.UTF_8));
    } catch (RuntimeException e) {
      return damageBytes(bytes, bytes.length, random);
    }
    List<JsonElement> containers = new ArrayList<>();
    collect(root, containers);
    if (containers.isEmpty()) {
      return bytes;
    }
    // Not evenly: the thousands of small lists in a tokenizer would leave nothing for its top.
    int limit = random.nextBoolean() ? Math.min(30, containers.size()) : containers.size();
    JsonElement container = containers.get(random.nextInt(limit));
    JsonElement value = value(random);
    if (container instanceof JsonArray array) {
      if (array.isEmpty() || random.nextInt(4) == 0) {
        array.add(value);
      } else if (random.nextInt(3) == 0) {
        array.remove(random.nextInt(array.size()));
      } else {
        array.set(random.nextInt(array.size()), value);
      }
    } else if (container instanceof JsonObject object) {
      List<String> keys = new ArrayList<>(object.keySet());
      if (keys.isEmpty()) {
        object.add("x", value);
      } else {
        String key = keys.get(random.nextInt(keys.size()));
        switch (random.nextInt(5)) {
          case 0 -> object.remove(key);
          case 1 -> object.add(key + "x", value);
          case 2 -> object.add(key, object.get(keys.get(random.nextInt(keys.size()))).deepCopy());
          default -> object.add(key, value);
        }
      }
    }
    return root.toString().getBytes(StandardCharsets.UTF_8);
  }

  private static void collect(JsonElement element, List<JsonElement> containers) {
    if (element instanceof JsonArray array) {
      containers.add(array);
      array.forEach(child -> collect(child, containers));
    } else if (element instanceof JsonObject object) {
      containers.add(object);
      object.asMap().values().forEach(child -> collect(child, containers));
    }
  }

  private static JsonElement value(Random random) {
    String json = VALUES.get(random.nextInt(VALUES.size()));
    try {
      return json.equals("null") ? JsonNull.INSTANCE : JsonParser.parseString(json);
    } catch (RuntimeException e) {
      return new JsonPrimitive(json);
    }
  }

  /** Changes a value in the header and puts the new length before it. */
  private static byte[] damageHeader(byte[] bytes, Random random) {
    if (bytes.length < 8) {
      return bytes;
    }
    long length = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
    if (length < 0 || length > bytes.length - 8) {
      return damageBytes(bytes, bytes.length, random);
    }
    int end = 8 + (int) length;
    byte[] header = damageJson(Arrays.copyOfRange(bytes, 8, end), random);
    return ByteBuffer.allocate(8 + header.length + bytes.length - end)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(header.length)
        .put(header)
        .put(bytes, end, bytes.length - end)
        .array();
  }

  /** Overwrites a piece of the weights with random bits, or with a value that is no number. */
  private static byte[] damageWeights(byte[] bytes, Random random) {
    if (bytes.length < 9000) {
      return bytes;
    }
    byte[] damaged = bytes.clone();
    int at = 8000 + random.nextInt(bytes.length - 9000);
    if (random.nextBoolean()) {
      byte[] noise = new byte[1 + random.nextInt(200)];
      random.nextBytes(noise);
      System.arraycopy(noise, 0, damaged, at, noise.length);
    } else {
      int bits = random.nextBoolean() ? 0x7fc00000 : 0x7f800000;
      ByteBuffer.wrap(damaged).order(ByteOrder.LITTLE_ENDIAN).putInt(at & ~3, bits);
    }
    return damaged;
  }
}
