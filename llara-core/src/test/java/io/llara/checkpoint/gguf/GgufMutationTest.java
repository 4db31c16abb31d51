package io.llara.checkpoint.gguf;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.TensorEntry;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Damaged GGUF files: an import gives a directory that loads or an error of ours that names the
 * file, never a crash, and leaves nothing half done. Each case has its own seed, its number, so
 * that one that fails can be run alone.
 */
class GgufMutationTest {
  /** Numbers that have broken readers of lengths and counts before. */
  private static final long[] NUMBERS = {
    0,
    1,
    2,
    9,
    31,
    33,
    255,
    65535,
    65536,
    Integer.MAX_VALUE,
    1L << 31,
    0xffffffffL,
    1L << 32,
    1L << 40,
    Long.MAX_VALUE,
    Long.MIN_VALUE,
    -1,
    -32
  };

  @TempDir Path dir;

  @Test
  void fiveHundredDamagedFiles() throws IOException {
    run(0, 500);
  }

  @Test
  @Tag("nightly")
  void twentyThousandDamagedFiles() throws IOException {
    run(500, 20_500);
  }

  private void run(int first, int end) throws IOException {
    List<byte[]> originals = List.of(GgufModels.small().build(), sentencePiece().build());
    int survived = 0;
    for (byte[] original : originals) {
      assertThat(imports(original)).as("works before it is damaged").isTrue();
    }
    for (int seed = first; seed < end; seed++) {
      Random random = new Random(seed);
      byte[] damaged = damage(originals.get(random.nextInt(originals.size())), random);
      try {
        survived += imports(damaged) ? 1 : 0;
      } catch (Throwable e) {
        throw new AssertionError("seed " + seed, e);
      }
    }
    // Both ways out are taken, or the damage is not worth its name.
    assertThat(survived).isBetween((end - first) / 20, (end - first) * 19 / 20);
  }

  private static GgufBuilder sentencePiece() {
    int count = GgufModels.TOKENS.size();
    float[] scores = new float[count];
    for (int id = 0; id < count; id++) {
      scores[id] = -id;
    }
    return GgufModels.small()
        .put("tokenizer.ggml.model", "llama")
        .put("tokenizer.ggml.scores", scores)
        .put("tokenizer.ggml.merges", null)
        .put("tokenizer.ggml.unknown_token_id", 2);
  }

  /** Returns whether the file was imported; false for an error of ours. */
  private boolean imports(byte[] bytes) throws IOException {
    Path file = dir.resolve("model.gguf");
    Path out = dir.resolve("out");
    Files.write(file, bytes);
    try {
      GgufImporter.builder(file).build().write(out);
    } catch (LlaraException e) {
      assertThat(e.getMessage()).startsWith(file.toString());
      assertThat(entries(dir)).containsExactly(file);
      return false;
    }
    CheckpointDirectory.open(out).tensors().values().forEach(TensorEntry::readFloats);
    for (Path written : entries(out)) {
      Files.delete(written);
    }
    Files.delete(out);
    return true;
  }

  private static List<Path> entries(Path folder) throws IOException {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.toList();
    }
  }

  /** Flips bits, plants a number or a piece from elsewhere, or cuts something out or off. */
  private static byte[] damage(byte[] original, Random random) {
    // The header is the interesting part; weights may hold any bits.
    int headerEnd = original.length - 3400;
    int end = random.nextInt(10) == 0 ? original.length : headerEnd;
    int at = random.nextInt(end - 8);
    byte[] damaged = original.clone();
    ByteBuffer buffer = ByteBuffer.wrap(damaged).order(ByteOrder.LITTLE_ENDIAN);
    switch (random.nextInt(6)) {
      case 0 -> {
        for (int i = 0; i <= random.nextInt(4); i++) {
          damaged[random.nextInt(end)] ^= (byte) (1 << random.nextInt(8));
        }
      }
      case 1 -> buffer.putLong(at, NUMBERS[random.nextInt(NUMBERS.length)]);
      case 2 -> buffer.putInt(at, (int) NUMBERS[random.nextInt(NUMBERS.length)]);
      case 3 -> damaged = Arrays.copyOf(original, random.nextInt(original.length));
      case 4 -> System.arraycopy(original, random.nextInt(end - 8), damaged, at, 8);
      default -> {
        int cut = 1 + random.nextInt(16);
        int rest = Math.min(original.length, at + cut);
        System.arraycopy(original, rest, damaged, at, original.length - rest);
        damaged = Arrays.copyOf(damaged, original.length - (rest - at));
      }
    }
    return damaged;
  }
}
