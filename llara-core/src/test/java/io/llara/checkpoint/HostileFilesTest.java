package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.LlaraException;
import io.llara.prompt.PromptTemplate;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/** Whatever the bytes, reading gives a value or one of our errors. */
class HostileFilesTest {
  private static final List<String> FRAGMENTS =
      List.of(
          "-1",
          "0",
          "1e308",
          "1e999999999",
          "9223372036854775807",
          "4294967296",
          "null",
          "true",
          "NaN",
          "\"x\"",
          "\"\\u0000\"",
          "[]",
          "{}",
          "[[[[[[[[",
          "{\"a\":",
          ",",
          ":",
          "\"",
          "}",
          "]",
          "\\",
          "..",
          "/");

  private static Path dir;
  private static final Map<String, byte[]> ORIGINALS = new LinkedHashMap<>();

  @BeforeContainer
  static void files() throws IOException {
    dir = Files.createTempDirectory("llara-hostile");
    Path sharded = Files.createDirectory(dir.resolve("sharded"));
    Path adapter = Files.createDirectory(dir.resolve("adapter"));
    Checkpoints.write(dir);
    new LlaraJson(
            PromptTemplate.builder("t").prefix("p").eos().build(),
            true,
            OptionalInt.of(5),
            OptionalInt.empty())
        .write(dir);
    Files.copy(dir.resolve("config.json"), sharded.resolve("config.json"));
    Files.copy(dir.resolve("model.safetensors"), sharded.resolve("a.safetensors"));
    Map<String, String> shards = new HashMap<>();
    SafetensorsFile.open(sharded.resolve("a.safetensors"))
        .entries()
        .keySet()
        .forEach(name -> shards.put('"' + name + '"', "\"a.safetensors\""));
    Checkpoints.text(
        sharded.resolve("model.safetensors.index.json"),
        "{\"weight_map\":" + shards.toString().replace('=', ':') + "}");
    Checkpoints.writeAdapter(adapter);
    for (String name :
        List.of(
            "config.json",
            "llara.json",
            "model.safetensors",
            "sharded/model.safetensors.index.json",
            "adapter/adapter_config.json",
            "adapter/adapter_model.safetensors")) {
      ORIGINALS.put(name, Files.readAllBytes(dir.resolve(name)));
    }
    openAll();
  }

  @AfterContainer
  static void removeFiles() throws IOException {
    try (var paths = Files.walk(dir)) {
      for (Path path : paths.sorted((a, b) -> b.compareTo(a)).toList()) {
        Files.delete(path);
      }
    }
  }

  private static void openAll() {
    CheckpointDirectory checkpoint = CheckpointDirectory.open(dir);
    checkpoint.tensors().values().forEach(TensorEntry::readFloats);
    CheckpointDirectory.open(dir.resolve("sharded"));
    LoraAdapter.open(dir.resolve("adapter"), checkpoint.config());
  }

  /** Changes a few bytes near each other, or cuts or repeats a piece, or plants a fragment. */
  private static byte[] mutate(byte[] original, Random random, boolean headerOnly) {
    int headerEnd = 8 + (original[0] & 0xff | (original[1] & 0xff) << 8);
    int end = headerOnly ? headerEnd : original.length;
    int at = random.nextInt(end);
    switch (random.nextInt(5)) {
      case 0:
        byte[] flipped = original.clone();
        for (int i = 0; i <= random.nextInt(3); i++) {
          flipped[random.nextInt(end)] ^= (byte) (1 << random.nextInt(8));
        }
        return flipped;
      case 1:
        byte[] replaced = original.clone();
        replaced[at] = (byte) random.nextInt(256);
        return replaced;
      case 2:
        return Arrays.copyOf(original, random.nextInt(original.length));
      case 3:
        return splice(original, at, random.nextInt(20), new byte[0]);
      default:
        String fragment = FRAGMENTS.get(random.nextInt(FRAGMENTS.size()));
        return splice(original, at, random.nextInt(8), fragment.getBytes());
    }
  }

  private static byte[] splice(byte[] original, int at, int cut, byte[] insert) {
    int rest = Math.min(original.length, at + cut);
    ByteBuffer spliced =
        ByteBuffer.allocate(at + insert.length + original.length - rest)
            .put(original, 0, at)
            .put(insert)
            .put(original, rest, original.length - rest);
    return spliced.array();
  }

  @Property(tries = 1000, seed = "20240521")
  void aMutatedFileGivesAValueOrOurError(@ForAll long seed) throws IOException {
    Random random = new Random(seed);
    String name = List.copyOf(ORIGINALS.keySet()).get(random.nextInt(ORIGINALS.size()));
    byte[] original = ORIGINALS.get(name);
    boolean headerOnly = name.endsWith(".safetensors") && random.nextInt(10) > 0;
    Files.write(dir.resolve(name), mutate(original, random, headerOnly));
    try {
      openAll();
    } catch (LlaraException e) {
      assertThat(e.getMessage()).startsWith(dir.toString());
    } finally {
      Files.write(dir.resolve(name), original);
    }
  }

  @Provide
  Arbitrary<Map<String, Sample>> tensors() {
    Arbitrary<Sample> sample =
        Combinators.combine(
                Arbitraries.of(StorageType.F32, StorageType.F16, StorageType.BF16),
                Arbitraries.longs().between(0, 5).array(long[].class).ofMaxSize(4),
                Arbitraries.longs())
            .as(Sample::new);
    return Arbitraries.maps(Arbitraries.strings().ofMaxLength(12), sample).ofMaxSize(6);
  }

  record Sample(StorageType type, long[] shape, long seed) {
    /** Returns values that the type holds exactly. */
    float[] values() {
      float[] values = Checkpoints.random(shape, seed);
      for (int i = 0; i < values.length; i++) {
        values[i] =
            switch (type) {
              case F16 -> HalfFloats.fromF16(HalfFloats.toF16(values[i]));
              case BF16 -> HalfFloats.fromBf16(HalfFloats.toBf16(values[i]));
              default -> values[i];
            };
      }
      return values;
    }
  }

  @Property(tries = 200, seed = "20240522")
  void whatIsWrittenReadsBack(@ForAll("tensors") Map<String, Sample> tensors) {
    // A lone surrogate has no UTF-8 form.
    tensors.keySet().removeIf(name -> name.codePoints().anyMatch(c -> c >= 0xd800 && c < 0xe000));
    SafetensorsWriter writer = new SafetensorsWriter();
    tensors.forEach((name, t) -> writer.add(name, t.type(), t.shape(), t.values()));
    Path file = dir.resolve("round-trip.safetensors");
    writer.write(file);
    SafetensorsFile read = SafetensorsFile.open(file);
    assertThat(read.entries()).containsOnlyKeys(tensors.keySet());
    tensors.forEach(
        (name, t) -> {
          assertThat(read.entry(name).type()).isEqualTo(t.type());
          assertThat(read.entry(name).shape()).isEqualTo(t.shape());
          assertThat(read.entry(name).readFloats()).isEqualTo(t.values());
        });
  }
}
