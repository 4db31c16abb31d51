package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.CorpusVectors.Encoding;
import io.llara.retrieval.CorpusVectors.Target;
import io.llara.testing.ChildJvm;
import io.llara.testing.Leaks;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import io.llara.testing.Vectors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.LongBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("slow")
class CorpusVectorsTest {
  private static final List<String> TEXTS = Texts.random(40, 12, 1);
  private static final TextSet SET = TextSet.of("the texts", TEXTS);

  private static Encoder encoder;

  @TempDir private Path folder;

  private final List<String> notes = new ArrayList<>();

  @BeforeAll
  static void load() {
    encoder = builder().build();
  }

  @AfterAll
  static void close() {
    encoder.close();
  }

  @Test
  void holdsTheVectorsOfItsMode() {
    for (Mode mode : Mode.values()) {
      List<float[]> expected = encoder.encodeAll(TEXTS, mode);
      try (StoredVectors vectors = CorpusVectors.open(SET, encoder, mode)) {
        assertThat(vectors.count()).isEqualTo(40);
        assertThat(vectors.dimension()).isEqualTo(encoder.dimension());
        Vectors.assertSame(read(vectors), expected);
      }
      try (StoredVectors vectors = cached(SET, encoder, mode)) {
        Vectors.assertSame(read(vectors), expected);
      }
    }
    assertThat(names()).hasSize(2).allMatch(name -> name.endsWith(".vectors"));
    assertThat(notes).isEmpty();
  }

  @Test
  void whatIsCachedIsNotEncodedAgain() {
    List<float[]> first;
    try (StoredVectors vectors = cached(SET, encoder, Mode.SELF)) {
      first = read(vectors);
    }
    long encoded = encoder.statistics().texts();
    try (StoredVectors vectors = cached(SET, encoder, Mode.SELF)) {
      assertThat(read(vectors)).usingRecursiveComparison().isEqualTo(first);
    }
    assertThat(encoder.statistics().texts()).isEqualTo(encoded);
  }

  @Test
  void whateverVectorsDependOnIsAnotherFile() {
    TextSet others = TextSet.of("the texts", TEXTS.subList(0, 39));
    cached(SET, encoder, Mode.SELF).close();
    cached(SET, encoder, Mode.NEXT).close();
    cached(others, encoder, Mode.SELF).close();
    CorpusVectors.open(SET, encoder, Mode.SELF, new CachePlace(folder, "another model"), notes::add)
        .close();
    assertThat(names()).hasSize(4);
    try (Encoder shorter = builder().maxTokens(32).build()) {
      cached(SET, shorter, Mode.SELF).close();
    }
    assertThat(names()).hasSize(5);
    try (Encoder unscaled = builder().normalize(false).build()) {
      cached(SET, unscaled, Mode.SELF).close();
    }
    assertThat(names()).hasSize(6);
  }

  @Test
  void passagesOfACollectionAreEncoded() {
    String lines =
        """
        {"_id": "a", "title": "Llamas", "text": "They live high up."}
        {"_id": "b", "title": " ", "text": ""}
        {"_id": "c", "text": "A lighthouse warns ships."}
        """;
    Corpus corpus =
        new Corpus(
            "the corpus",
            () -> new java.io.ByteArrayInputStream(lines.getBytes(StandardCharsets.UTF_8)));
    CachePlace place = CachePlace.of(folder, Stories.dir(), Optional.empty());
    try (StoredVectors vectors =
        CorpusVectors.open(TextSet.of(corpus), encoder, Mode.SELF, place, notes::add)) {
      Vectors.assertSame(
          read(vectors),
          encoder.encodeAll(
              List.of("Llamas They live high up.", "A lighthouse warns ships."), Mode.SELF));
    }
  }

  @Test
  void damagedVectorsAreMadeAnew() throws IOException {
    cached(SET, encoder, Mode.SELF).close();
    Path file = folder.resolve(names().get(0));
    byte[] good = Files.readAllBytes(file);
    byte[] flipped = good.clone();
    flipped[good.length / 2] ^= 1;
    for (byte[] bad : List.of(flipped, new byte[0], Arrays.copyOf(good, 200))) {
      Files.write(file, bad);
      notes.clear();
      cached(SET, encoder, Mode.SELF).close();
      assertThat(notes).hasSize(1);
      assertThat(notes.get(0)).contains(file.toString()).contains("damaged");
      // One lane: the batches, and so the last bits, are those of before.
      assertThat(Files.readAllBytes(file)).isEqualTo(good);
    }
  }

  @Test
  void aCacheThatCannotBeWrittenCostsTimeOnly() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "");
    CachePlace place = new CachePlace(file.resolve("in-it"), "model");
    try (StoredVectors vectors = CorpusVectors.open(SET, encoder, Mode.SELF, place, notes::add)) {
      Vectors.assertSame(read(vectors), encoder.encodeAll(TEXTS, Mode.SELF));
    }
    assertThat(notes).hasSize(1);
    assertThat(notes.get(0)).contains("cannot be cached");
  }

  @Test
  void anInterruptLeavesNothing() {
    AtomicInteger read = new AtomicInteger();
    TextSet interrupting =
        new TextSet(
            "the texts",
            SET.count(),
            SET.digest(),
            () ->
                TEXTS.stream()
                    .peek(
                        text -> {
                          if (read.incrementAndGet() == 20) {
                            Thread.currentThread().interrupt();
                          }
                        }));
    try {
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> cached(interrupting, encoder, Mode.SELF))
          .withMessageContaining("interrupted");
    } finally {
      assertThat(Thread.interrupted()).isTrue();
    }
    assertThat(names()).isEmpty();
    // The same key, and nothing in its way.
    try (StoredVectors vectors = cached(SET, encoder, Mode.SELF)) {
      assertThat(vectors.count()).isEqualTo(40);
    }
    assertThat(notes).isEmpty();
  }

  @Test
  void changedTextsAreNoticed() {
    List<String> changed = new ArrayList<>(TEXTS);
    changed.set(30, "another one");
    TextSet changing = new TextSet("the texts", 40, SET.digest(), changed::stream);
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> cached(changing, encoder, Mode.SELF))
        .withMessage("the texts: changed while it was read");
    TextSet shorter = new TextSet("the texts", 40, SET.digest(), TEXTS.subList(0, 9)::stream);
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> CorpusVectors.open(shorter, encoder, Mode.SELF))
        .withMessage("the texts: changed while it was read");
    assertThat(names()).isEmpty();
  }

  @Test
  void blankTextsAreRefused() {
    TextSet blank = TextSet.of("the texts", List.of("one", " "));
    assertThatExceptionOfType(IllegalArgumentException.class)
        .isThrownBy(() -> cached(blank, encoder, Mode.SELF))
        .withMessageContaining("text 1");
    assertThat(names()).isEmpty();
  }

  @Test
  void nothingNativeIsLeft() throws Throwable {
    Leaks.assertNone(
        () -> {
          StoredVectors vectors = CorpusVectors.open(SET, encoder, Mode.NEXT);
          vectors.close();
          vectors.close();
          assertThatIllegalStateException().isThrownBy(() -> read(vectors));
        });
  }

  /** A process that dies while it encodes leaves no file that the next one takes. */
  @Test
  void aDeadProcessLeavesNothingToBeTaken() throws Exception {
    ChildJvm.run(List.of("-Xmx64m"), Dying.class, folder.toString(), Stories.dir().toString());
    assertThat(names()).isNotEmpty().allMatch(name -> name.endsWith(".partial"));
    try (StoredVectors vectors = cached(SET, encoder, Mode.SELF)) {
      Vectors.assertSame(read(vectors), encoder.encodeAll(TEXTS, Mode.SELF));
    }
    assertThat(notes).isEmpty();
  }

  /** Writes, and ends as if it were killed. */
  static final class Dying {
    public static void main(String[] args) {
      try (Encoder encoder =
          Encoder.builder(Path.of(args[1])).computeType(ComputeType.FLOAT32).threads(1).build()) {
        TextSet dying =
            new TextSet(
                "the texts",
                SET.count(),
                SET.digest(),
                // Closed when all texts are encoded, before the file gets its name.
                () -> TEXTS.stream().onClose(() -> Runtime.getRuntime().halt(0)));
        CorpusVectors.open(
            dying, encoder, Mode.SELF, new CachePlace(Path.of(args[0]), "model"), note -> {});
      }
    }
  }

  /** Kill -9, twice, and then to the end. */
  @Test
  void encodingGoesOnWhereAKilledProcessEnded() throws Exception {
    encodeWithKills(2_000, 2);
  }

  /** Ten times, and of all texts less than 2 % are encoded twice. */
  @Test
  @Tag("nightly")
  void tenKillsCostLessThanTwoPercent() throws Exception {
    long total = 160_000;
    assertThat(encodeWithKills(total, 10)).isLessThan(total / 50);
  }

  /** Returns how many texts were encoded twice, at most. */
  private long encodeWithKills(long total, int kills) throws Exception {
    Path file = folder.resolve("killed.vectors");
    Path counters = folder.resolve("counters");
    Path output = folder.resolve("output");
    Files.write(counters, new byte[2 * Long.BYTES]);
    List<String> arguments = List.of(file.toString(), counters.toString(), String.valueOf(total));
    for (int i = 1; i <= kills + 1; i++) {
      Process process =
          ChildJvm.start(
              output, List.of("-Xmx64m"), BulkEncoding.class, arguments.toArray(String[]::new));
      try {
        while (i <= kills && process.isAlive() && counter(counters, 0) < total * i / (kills + 1)) {
          Thread.sleep(5);
        }
        if (i <= kills) {
          process.destroyForcibly();
        }
        process.waitFor();
      } finally {
        process.destroyForcibly().waitFor();
      }
      assertThat(Files.exists(file)).as(Files.readString(output)).isEqualTo(i > kills);
    }
    Path whole = folder.resolve("whole.vectors");
    CorpusVectors.encode(
        BulkEncoding.texts(total),
        new Encoding(encoder, Mode.SELF, "model"),
        new Target(whole, VectorStorage.FLOAT16, Shard.WHOLE),
        resumed -> {});
    assertThat(file).hasSameBinaryContentAs(whole);
    assertThat(names()).containsOnly("killed.vectors", "whole.vectors", "counters", "output");
    long twice = counter(counters, Long.BYTES) - total;
    // Two windows are under way, and a text is read ahead.
    assertThat(twice).isBetween(0L, (2L * encoder.window() + 1) * kills);
    return twice;
  }

  private static long counter(Path counters, int at) throws IOException {
    return ByteBuffer.wrap(Files.readAllBytes(counters)).getLong(at);
  }

  /** Encodes texts, and counts where it is, and in a second number all texts it began with. */
  static final class BulkEncoding {
    static TextSet texts(long total) {
      return TextSet.read("the texts", () -> LongStream.range(0, total).mapToObj(i -> "text " + i));
    }

    public static void main(String[] args) throws IOException {
      TextSet texts = texts(Long.parseLong(args[2]));
      try (Encoder encoder = builder().build();
          FileChannel channel =
              FileChannel.open(
                  Path.of(args[1]), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
        // Survives a kill.
        LongBuffer counters =
            channel.map(FileChannel.MapMode.READ_WRITE, 0, 2 * Long.BYTES).asLongBuffer();
        AtomicLong there = new AtomicLong();
        AtomicLong read = new AtomicLong();
        TextSet counted =
            new TextSet(
                texts.name(),
                texts.count(),
                texts.digest(),
                () ->
                    texts
                        .source()
                        .get()
                        .peek(
                            text -> {
                              if (read.incrementAndGet() > there.get()) {
                                counters.put(0, read.get());
                                counters.put(1, counters.get(1) + 1);
                              }
                            }));
        CorpusVectors.encode(
            counted,
            new Encoding(encoder, Mode.SELF, "model"),
            new Target(Path.of(args[0]), VectorStorage.FLOAT16, Shard.WHOLE),
            there::set);
      }
    }
  }

  @Test
  void shardsMergeIntoTheFileOfAWholeEncoding() throws IOException {
    // Three windows of texts: of seven shards some are empty.
    TextSet texts = BulkEncoding.texts(2_100);
    for (VectorStorage storage : List.of(VectorStorage.FLOAT32, VectorStorage.INT8)) {
      List<Path> shards = new ArrayList<>();
      int of = storage == VectorStorage.INT8 ? 7 : 2;
      for (int i = of; i > 0; i--) {
        shards.add(encode(texts, Mode.SELF, storage, new Shard(i, of)));
      }
      Path merged = folder.resolve("merged-" + storage);
      CorpusVectors.merge(merged, shards);
      assertThat(merged).hasSameBinaryContentAs(encode(texts, Mode.SELF, storage, Shard.WHOLE));
    }
    assertThat(names()).noneMatch(name -> name.contains("partial"));

    long encoded = encoder.statistics().texts();
    encode(texts, Mode.SELF, VectorStorage.INT8, new Shard(1, 7));
    assertThat(encoder.statistics().texts()).isEqualTo(encoded);
  }

  @Test
  void shardsThatDoNotFitAreRefused() throws IOException {
    TextSet texts = BulkEncoding.texts(1_100);
    TextSet others = TextSet.of("others", Texts.random(1_100, 2, 3));
    Path first = encode(texts, Mode.SELF, VectorStorage.INT8, new Shard(1, 2));
    Path second = encode(texts, Mode.SELF, VectorStorage.INT8, new Shard(2, 2));
    Path third = encode(texts, Mode.SELF, VectorStorage.INT8, new Shard(3, 3));
    Path floats = encode(texts, Mode.SELF, VectorStorage.FLOAT32, new Shard(2, 2));
    Path otherMode = encode(texts, Mode.NEXT, VectorStorage.INT8, new Shard(2, 2));
    Path otherTexts = encode(others, Mode.SELF, VectorStorage.INT8, new Shard(2, 2));
    assertUnmerged(List.of(first), "of the shards of " + first + ", 2/2 is missing");
    assertUnmerged(List.of(first, second, first), first + ": is shard 1/2, as is " + first);
    assertUnmerged(List.of(first, third), third + ": is shard 3/3, " + first + " shard 1/2");
    assertUnmerged(List.of(first, floats), floats + ": the storage is FLOAT32; expected INT8");
    assertUnmerged(List.of(otherMode, first), "another model or of other settings");
    assertUnmerged(List.of(first, otherTexts), otherTexts + ": holds the vectors of other texts");
    byte[] bytes = Files.readAllBytes(second);
    bytes[bytes.length - 1] ^= 1;
    Files.write(second, bytes);
    assertUnmerged(List.of(first, second), second + ": is damaged");
    Files.write(second, Arrays.copyOf(bytes, 5_000));
    assertUnmerged(List.of(first, second), second + ": the vectors cannot be read: it has 5000");
    assertThat(names()).noneMatch(name -> name.startsWith("merged"));
  }

  private void assertUnmerged(List<Path> shards, String message) {
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> CorpusVectors.merge(folder.resolve("merged"), shards))
        .withMessageContaining(message);
  }

  @Test
  void aFileOfOtherVectorsIsRefused() throws IOException {
    Path file = encode(SET, Mode.SELF, VectorStorage.INT8, Shard.WHOLE);
    Path shard = encode(SET, Mode.SELF, VectorStorage.INT8, new Shard(2, 2));
    Encoding encoding = new Encoding(encoder, Mode.SELF, "model");
    CorpusVectors.open(file, SET, encoding).close();
    TextSet fewer = TextSet.of("the texts", TEXTS.subList(0, 39));
    TextSet others = TextSet.of("the texts", Texts.random(40, 12, 2));
    assertRefused(file, fewer, encoding, "the number of texts is 40; expected 39");
    assertRefused(file, others, encoding, "holds the vectors of other texts (their SHA-256 is ");
    assertRefused(file, SET, new Encoding(encoder, Mode.NEXT, "model"), "of other settings");
    assertRefused(file, SET, new Encoding(encoder, Mode.SELF, "other"), "of another model");
    assertRefused(shard, SET, encoding, "the shard is 2/2; expected 1/1");
    Path own = folder.resolve("own");
    StoredVectors.write(own, InMemoryVectors.of(new float[] {1, 2}), VectorStorage.FLOAT32);
    assertRefused(own, SET, encoding, "the dimension is 2; expected 64");
    // What is there is neither overwritten nor taken for what is asked for.
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(
            () ->
                CorpusVectors.encode(
                    others,
                    encoding,
                    new Target(file, VectorStorage.INT8, Shard.WHOLE),
                    resumed -> {}))
        .withMessageContaining("other texts");
    Path partial = Files.copy(file, folder.resolve("part.partial"));
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(
            () ->
                CorpusVectors.encode(
                    others,
                    encoding,
                    new Target(folder.resolve("part"), VectorStorage.INT8, Shard.WHOLE),
                    resumed -> {}))
        .withMessageStartingWith(partial + ": holds a part of something else");
  }

  @Test
  void oneProcessAtATimeWritesAFile() throws IOException {
    Path file = folder.resolve("a");
    VectorHeader header =
        new VectorHeader(
            VectorHeader.UNKNOWN, VectorHeader.UNKNOWN, VectorStorage.INT8, 2, 1, Shard.WHOLE);
    try (VectorWriter writer = new VectorWriter(file, header)) {
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(
              () ->
                  StoredVectors.write(
                      file, InMemoryVectors.of(new float[] {1, 2}), VectorStorage.INT8))
          .withMessage(
              "%s: the vectors cannot be written: something else is writing %s.partial",
              file, file);
      writer.add(new float[] {1, 2});
      writer.commit();
    }
    assertThat(names()).containsExactly("a");
  }

  private static void assertRefused(Path file, TextSet texts, Encoding encoding, String message) {
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> CorpusVectors.open(file, texts, encoding))
        .withMessageContaining(file.toString())
        .withMessageContaining(message);
  }

  private Path encode(TextSet texts, Mode mode, VectorStorage storage, Shard shard)
      throws IOException {
    String digits = texts.digest().substring(0, 4);
    String name = "%s-%s-%s-%d-%d".formatted(digits, mode, storage, shard.number(), shard.of());
    Path file = folder.resolve(name);
    CorpusVectors.encode(
        texts,
        new Encoding(encoder, mode, "model"),
        new Target(file, storage, shard),
        resumed -> {});
    return file;
  }

  @Test
  void temporaryFoldersAreDeleted() throws Exception {
    String printed =
        ChildJvm.run(
            List.of("-Xmx64m", "-Djava.io.tmpdir=" + folder),
            Temporary.class,
            Stories.dir().toString());
    assertThat(printed).contains("while open: 1").contains("when closed: 0");
    assertThat(names()).noneMatch(name -> name.startsWith("llara-vectors"));
  }

  /** Prints how many temporary folders there are. */
  static final class Temporary {
    public static void main(String[] args) throws IOException {
      try (Encoder encoder =
          Encoder.builder(Path.of(args[0])).computeType(ComputeType.FLOAT32).threads(1).build()) {
        try (StoredVectors vectors = CorpusVectors.open(SET, encoder, Mode.SELF)) {
          System.out.println("while open: " + folders());
        }
        System.out.println("when closed: " + folders());
        // Never closed: deleted when the process ends.
        CorpusVectors.open(SET, encoder, Mode.SELF);
        System.out.println("left open: " + folders());
      }
    }

    private static long folders() throws IOException {
      try (Stream<Path> entries = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
        return entries
            .filter(entry -> entry.getFileName().toString().startsWith("llara-vectors"))
            .count();
      }
    }
  }

  /** A collection of 75 MB on a heap of 64 MB: encoded, stored and searched. */
  @Test
  @Tag("nightly")
  void aCollectionMayBeLargerThanTheHeap() throws Exception {
    assertThat(
            ChildJvm.run(
                List.of("-Xmx64m", "-Djava.io.tmpdir=" + folder),
                LargerThanTheHeap.class,
                Stories.dir().toString()))
        .contains("characters: 75000000")
        .contains("vectors: 50000")
        .contains("hits: 10 10 10");
  }

  /** Makes the collection while it is read. */
  static final class LargerThanTheHeap {
    private static final int COUNT = 50_000;
    private static final int LENGTH = 1_500;

    private LargerThanTheHeap() {}

    public static void main(String[] args) {
      TextSet passages =
          TextSet.read(
              "a large collection",
              () -> IntStream.range(0, COUNT).mapToObj(LargerThanTheHeap::passage));
      System.out.println("characters: " + (long) LENGTH * passages.count());
      TextSet queries = TextSet.of("queries", List.of("the little dog", "a ball", "the park"));
      try (Encoder encoder =
              Encoder.builder(Path.of(args[0]))
                  .computeType(ComputeType.FLOAT32)
                  .maxTokens(24)
                  .build();
          StoredVectors vectors = CorpusVectors.open(passages, encoder, Mode.SELF);
          StoredVectors asked = CorpusVectors.open(queries, encoder, Mode.NEXT);
          ExactSearch search = new ExactSearch(vectors, encoder.lanes())) {
        System.out.println("vectors: " + vectors.count());
        System.out.print("hits:");
        search
            .search(asked, 10)
            .forEach(hits -> System.out.print(" " + hits.indices().stream().distinct().count()));
      }
    }

    private static String passage(int index) {
      String words = "%d times the dog saw a ball in the park. ".formatted(index);
      return words.repeat(LENGTH / words.length() + 1).substring(0, LENGTH);
    }
  }

  private StoredVectors cached(TextSet texts, Encoder with, Mode mode) {
    return CorpusVectors.open(texts, with, mode, new CachePlace(folder, "model"), notes::add);
  }

  private static EncoderBuilder builder() {
    return Encoder.builder(Stories.dir()).computeType(ComputeType.FLOAT32).threads(1).maxTokens(64);
  }

  private List<String> names() {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static List<float[]> read(VectorSet vectors) {
    List<float[]> read = new ArrayList<>();
    vectors.forEachBlock(
        7,
        (first, rows, block) -> {
          for (int i = 0; i < rows; i++) {
            float[] vector = new float[vectors.dimension()];
            block.get(i * vector.length, vector);
            read.add(vector);
          }
        });
    return read;
  }
}
