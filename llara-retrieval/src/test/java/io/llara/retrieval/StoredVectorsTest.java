package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.LlaraException;
import io.llara.testing.ChildJvm;
import io.llara.testing.Leaks;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class StoredVectorsTest {
  @TempDir private Path folder;

  @Test
  void givesBackWhatWasStored() {
    Path file = folder.resolve("made-when-needed").resolve("a.vectors");
    float[][] vectors = {{1, 2, 3}, {-1, Float.MIN_VALUE, 0}};
    StoredVectors.write(file, InMemoryVectors.of(vectors), VectorStorage.FLOAT32);
    try (StoredVectors stored = StoredVectors.open(file)) {
      assertThat(stored.count()).isEqualTo(2);
      assertThat(stored.dimension()).isEqualTo(3);
      assertThat(stored.storage()).isEqualTo(VectorStorage.FLOAT32);
      assertThat(read(stored, 5)).containsExactly(vectors);
    }
  }

  @ParameterizedTest
  @EnumSource
  void handsOutBlocksOfAnySizeAndSingleVectors(VectorStorage storage) {
    // More than a block of the file: 65,536 bytes.
    List<float[]> vectors = RandomVectors.normal(700, 67, 1);
    try (StoredVectors stored = store(storage, vectors)) {
      List<float[]> single = new ArrayList<>();
      stored.reading(
          () -> {
            for (int i = 0; i < 700; i++) {
              float[] vector = new float[67];
              stored.read(i, vector);
              single.add(vector);
            }
            return single;
          });
      for (int rows : new int[] {1, 7, 244, 699, 700, 1000}) {
        assertThat(read(stored, rows)).containsExactlyElementsOf(single);
        assertThat(read(new InMemoryVectors(vectors), rows)).containsExactlyElementsOf(vectors);
      }
      if (storage == VectorStorage.FLOAT32) {
        assertThat(single).containsExactlyElementsOf(vectors);
      }
    }
  }

  @Test
  void roundsToTheNearestHalf() {
    float[] values = {
      0,
      -0f,
      1,
      -1,
      0.5f,
      65_504,
      -65_504,
      0x1p-24f,
      0x1p-25f,
      0x1.8p-25f,
      0x1p-14f,
      0x1.ff8p-15f,
      // A tie goes to the even neighbour; a carry into the next power of two; a third.
      1 + 0x1p-11f,
      1 + 0x3p-11f,
      1.9998f,
      1 / 3f,
      0x1.ffep0f
    };
    float[] halves = {
      0,
      -0f,
      1,
      -1,
      0.5f,
      65_504,
      -65_504,
      0x1p-24f,
      0,
      0x1p-24f,
      0x1p-14f,
      0x1.ff8p-15f,
      1,
      1 + 0x1p-9f,
      2,
      0.33325195f,
      2
    };
    try (StoredVectors stored = store(VectorStorage.FLOAT16, List.of(values))) {
      assertThat(read(stored, 1)).containsExactly(halves);
    }
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> store(VectorStorage.FLOAT16, List.of(new float[] {65_505})))
        .withMessageContaining("65505.0 is too large for float16");
    assertThat(names()).containsExactly("FLOAT16.vectors");
  }

  @Test
  void scalesEachVectorToBytes() {
    float[] vector = {1.27f, -1.27f, 0.014f, 0, -0.005f};
    float[] tiny = {Float.MIN_VALUE, 0, 0, 0, 0};
    try (StoredVectors stored =
        store(
            VectorStorage.INT8, List.of(vector, new float[5], tiny, new float[] {0, 0, 3, 1, 2}))) {
      List<float[]> read = read(stored, 4);
      assertThat(read.get(0))
          .containsExactly(new float[] {1.27f, -1.27f, 0.01f, 0, 0}, within(1e-7f));
      assertThat(read.get(1)).containsOnly(0);
      assertThat(read.get(2)).containsOnly(0);
      assertThat(read.get(3)[2]).isEqualTo(3);
      assertThat(read.get(3)[3]).isCloseTo(1, within(3f / 254));
    }
  }

  @Test
  void keepsSigns() {
    float[] vector = new float[67];
    vector[0] = 1e-30f;
    vector[1] = -3;
    vector[2] = -0f;
    vector[64] = 7;
    float size = (float) (1 / Math.sqrt(67));
    float[] expected = new float[67];
    Arrays.fill(expected, -size);
    expected[0] = size;
    expected[64] = size;
    try (StoredVectors stored = store(VectorStorage.BINARY, List.of(vector, vector))) {
      assertThat(read(stored, 2)).containsExactly(expected, expected);
      long[] signs = new long[4];
      stored.readSigns(0, signs, 2);
      assertThat(signs).containsExactly(1, 1, 1, 1);
    }
  }

  @Test
  void aFileIsAsLargeAsItsStorageSays() throws IOException {
    List<float[]> vectors = RandomVectors.normal(1000, 768, 2);
    for (VectorStorage storage : VectorStorage.values()) {
      store(storage, vectors).close();
    }
    assertThat(Files.size(folder.resolve("FLOAT32.vectors"))).isEqualTo(4096 + 1000 * 3072);
    assertThat(Files.size(folder.resolve("FLOAT16.vectors"))).isEqualTo(4096 + 1000 * 1536);
    assertThat(Files.size(folder.resolve("INT8.vectors"))).isEqualTo(4096 + 1000 * 772);
    assertThat(Files.size(folder.resolve("BINARY.vectors"))).isEqualTo(4096 + 1000 * 96);
  }

  @Test
  void aSetWithoutVectorsIsOneToo() {
    for (VectorStorage storage : VectorStorage.values()) {
      try (StoredVectors stored = store(storage, List.of())) {
        assertThat(read(stored, 4)).isEmpty();
      }
    }
  }

  @Test
  void closingFreesTheMappingAndWaitsForReaders() throws Throwable {
    Leaks.assertNone(
        () -> {
          StoredVectors stored =
              store(VectorStorage.INT8, List.of(new float[] {1, 2, 3}, new float[] {4, 5, 6}));
          stored.forEachBlock(
              2,
              (first, rows, block) ->
                  assertThatIllegalStateException()
                      .isThrownBy(stored::close)
                      .withMessageContaining("while it is read"));
          stored.close();
          stored.close();
          assertThatIllegalStateException().isThrownBy(() -> read(stored, 1));
        });
  }

  @Test
  void whatCannotBeWrittenLeavesTheOldFile() throws IOException {
    Path file = folder.resolve("FLOAT16.vectors");
    store(VectorStorage.FLOAT16, List.of(new float[] {1})).close();
    byte[] old = Files.readAllBytes(file);
    assertThatThrownBy(() -> store(VectorStorage.FLOAT16, List.of(new float[] {1e9f})))
        .isInstanceOf(LlaraException.class);
    assertThat(Files.readAllBytes(file)).isEqualTo(old);
    assertThat(names()).containsExactly("FLOAT16.vectors");
  }

  /** In the header at once; in a block when it is read; in the padding never. */
  @Test
  void everyChangedByteIsNoticed() throws IOException {
    store(VectorStorage.FLOAT32, List.of(new float[] {1, 2, 3}, new float[] {4, 5, 6})).close();
    Path file = folder.resolve("FLOAT32.vectors");
    byte[] good = Files.readAllBytes(file);
    for (int i = 0; i < good.length; i = i == 259 ? 4096 : i + 1) {
      byte[] bad = good.clone();
      bad[i] ^= 0x10;
      Files.write(file, bad);
      assertThatExceptionOfType(LlaraException.class)
          .as("byte %d", i)
          .isThrownBy(
              () -> {
                try (StoredVectors stored = StoredVectors.open(file)) {
                  read(stored, 1);
                }
              })
          .withMessageContaining(file.toString());
    }
    for (int length = 0; length < good.length; length += length < 300 ? 1 : 7) {
      Files.write(file, Arrays.copyOf(good, length));
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> StoredVectors.open(file))
          .withMessageContaining("cannot be read: ");
    }
    Files.write(file, Arrays.copyOf(good, good.length - 1));
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> StoredVectors.open(file))
        .withMessage(
            "%s: the vectors cannot be read: it has %d bytes; expected %d"
                .formatted(file, good.length - 1, good.length));
  }

  /** A hole in the middle: the vectors around it are found, those in it are an error. */
  @Test
  void onlyWhatIsReadIsChecked() throws IOException {
    List<float[]> vectors = RandomVectors.normal(3_000, 64, 3);
    store(VectorStorage.FLOAT32, vectors).close();
    Path file = folder.resolve("FLOAT32.vectors");
    try (RandomAccessFile bytes = new RandomAccessFile(file.toFile(), "rw")) {
      bytes.seek(4096 + 1_500 * 256);
      bytes.write(99);
    }
    try (StoredVectors stored = StoredVectors.open(file)) {
      float[] vector = new float[64];
      stored.reading(
          () -> {
            stored.read(2_999, vector);
            return vector;
          });
      assertThat(vector).isEqualTo(vectors.get(2_999));
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(
              () ->
                  stored.reading(
                      () -> {
                        stored.read(1_501, vector);
                        return vector;
                      }))
          .withMessage(
              "%s: is damaged: the checksum of block 11, bytes 364544 to 397311, is wrong", file);
      assertThatExceptionOfType(LlaraException.class).isThrownBy(stored::checkAll);
    }
  }

  @Test
  void anInterruptIsNoDamage() {
    Thread.currentThread().interrupt();
    try (StoredVectors stored =
        store(VectorStorage.FLOAT32, List.of(new float[] {1, 2, 3}, new float[] {4, 5, 6}))) {
      assertThat(read(stored, 2)).hasSize(2);
    } finally {
      assertThat(Thread.interrupted()).isTrue();
    }
  }

  @Test
  void otherFilesAreRefused() throws IOException {
    Path file = folder.resolve("a.vectors");
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> StoredVectors.open(file))
        .withMessageEndingWith("no such file");
    Files.writeString(file, "{\"_id\": 1} and much more than the bytes of a header".repeat(9));
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> StoredVectors.open(file))
        .withMessageEndingWith("it begins with '{\"_id\": '; expected LLARAVEC");
    byte[] old = new byte[300];
    System.arraycopy("LLARAVEC\u0001".getBytes("US-ASCII"), 0, old, 0, 9);
    Files.write(file, old);
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> StoredVectors.open(file))
        .withMessageEndingWith("its format has version 1; expected 2");
  }

  /** Vectors of twice the heap, written one by one and searched where they lie. */
  @Test
  void vectorsMayBeLargerThanTheHeap() throws Exception {
    assertThat(ChildJvm.run(List.of("-Xmx64m"), LargerThanTheHeap.class, folder.toString()))
        .contains("bytes: 134217728")
        .contains("found: 7 12345 65535");
  }

  /** Stores vectors, and searches for three of them. */
  static final class LargerThanTheHeap {
    private static final int COUNT = 1 << 16;
    private static final int DIMENSION = 512;

    private LargerThanTheHeap() {}

    /** Vectors that are made while they are read. */
    private static final class Made implements VectorSet {
      @Override
      public long count() {
        return COUNT;
      }

      @Override
      public int dimension() {
        return DIMENSION;
      }

      @Override
      public void forEachBlock(int rows, BlockReceiver receiver) {
        for (int i = 0; i < COUNT; i++) {
          receiver.accept(i, 1, FloatBuffer.wrap(vector(i)));
        }
      }

      static float[] vector(int index) {
        Random random = new Random(index);
        float[] vector = new float[DIMENSION];
        for (int j = 0; j < DIMENSION; j++) {
          vector[j] = random.nextFloat() - 0.5f;
        }
        return vector;
      }
    }

    public static void main(String[] args) {
      Path file = Path.of(args[0]).resolve("large.vectors");
      StoredVectors.write(file, new Made(), VectorStorage.FLOAT32);
      System.out.println("bytes: " + (long) COUNT * DIMENSION * Float.BYTES);
      try (StoredVectors stored = StoredVectors.open(file);
          ExactSearch search = new ExactSearch(stored, 2)) {
        System.out.print("found:");
        InMemoryVectors asked =
            InMemoryVectors.of(Made.vector(7), Made.vector(12_345), Made.vector(COUNT - 1));
        for (Hits hits : search.search(asked, 10)) {
          System.out.print(" " + hits.indices().get(0));
        }
      }
    }
  }

  private StoredVectors store(VectorStorage storage, List<float[]> vectors) {
    Path file = folder.resolve(storage + ".vectors");
    StoredVectors.write(file, new InMemoryVectors(vectors), storage);
    return StoredVectors.open(file);
  }

  private List<String> names() {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static List<float[]> read(VectorSet vectors, int rows) {
    List<float[]> read = new ArrayList<>();
    vectors.forEachBlock(
        rows,
        (first, here, block) -> {
          assertThat(first).isEqualTo(read.size());
          assertThat(here).isBetween(1, rows);
          assertThat(block.isDirect()).isTrue();
          FloatBuffer values = block.duplicate();
          for (int i = 0; i < here; i++) {
            float[] vector = new float[vectors.dimension()];
            values.get(vector);
            read.add(vector);
          }
          assertThat(values.hasRemaining()).isFalse();
        });
    return read;
  }
}
