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
import io.llara.testing.ChildJvm;
import io.llara.testing.Leaks;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import io.llara.testing.Vectors;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

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
    for (byte[] bad : List.of(flipped, new byte[0], java.util.Arrays.copyOf(good, 200))) {
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
    assertThat(names()).isNotEmpty().allMatch(name -> name.endsWith(".tmp"));
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
