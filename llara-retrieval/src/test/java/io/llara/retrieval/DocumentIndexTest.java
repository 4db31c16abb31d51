package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.testing.ChildJvm;
import io.llara.testing.Leaks;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DocumentIndexTest {
  private static final List<Document> DOCUMENTS =
      IntStream.range(0, 30)
          .mapToObj(i -> new Document("d" + i, "Title " + i, Texts.random(30, 9, 1).get(i)))
          .toList();

  private static Encoder encoder;

  @TempDir private Path parent;

  @BeforeAll
  static void load() {
    encoder = builder().build();
  }

  @AfterAll
  static void unload() {
    encoder.close();
  }

  private static EncoderBuilder builder() {
    return Encoder.builder(Stories.dir())
        .template("llara-paper")
        .computeType(ComputeType.FLOAT32)
        .threads(1)
        .maxTokens(64);
  }

  private Path folder() {
    return parent.resolve("index");
  }

  private static List<String> ids(List<SearchHit> hits) {
    return hits.stream().map(hit -> hit.document().id()).toList();
  }

  @Test
  void findsDocumentsByTheirMeaning() {
    try (DocumentIndex index = DocumentIndex.open(folder(), encoder)) {
      assertThat(index.size()).isZero();
      assertThat(index.search("anything", 5)).isEmpty();
      index.addAll(DOCUMENTS.stream());
      assertThat(index.size()).isEqualTo(30);
      assertFinds(index, DOCUMENTS);
    }
  }

  private static void assertFinds(DocumentIndex index, List<Document> documents) {
    for (String text : List.of("the little dog", "a ball in the park")) {
      float[] query = encoder.encode(text, Mode.NEXT);
      List<SearchHit> hits = index.search(text, documents.size() + 5);
      assertThat(hits).hasSize(documents.size());
      assertThat(ids(hits)).doesNotHaveDuplicates();
      for (SearchHit hit : hits) {
        assertThat(documents).contains(hit.document());
        double cosine =
            Similarity.cosine(query, encoder.encode(hit.document().passage(), Mode.SELF));
        // A text's vector differs by its batch in the last bits.
        assertThat(hit.score()).isCloseTo(cosine, within(1e-5));
      }
      assertThat(hits.stream().map(hit -> -hit.score())).isSorted();
      assertThat(index.search(text, 3)).isEqualTo(hits.subList(0, 3));
      assertThat(index.search(query, 3)).isEqualTo(hits.subList(0, 3));
    }
    List<List<SearchHit>> together =
        index.search(List.of(Query.of("the little dog"), Query.of("a ball in the park")), 4);
    assertThat(ids(together.get(0))).isEqualTo(ids(index.search("the little dog", 4)));
    assertThat(ids(together.get(1))).isEqualTo(ids(index.search("a ball in the park", 4)));
  }

  @Test
  void whatWasAddedIsThereAfterReopening() {
    try (DocumentIndex index = DocumentIndex.open(folder(), encoder)) {
      index.addAll(DOCUMENTS.subList(0, 20).stream());
      DOCUMENTS.subList(20, 29).forEach(index::add);
    }
    try (DocumentIndex index = DocumentIndex.open(folder(), encoder)) {
      assertThat(index.size()).isEqualTo(29);
      index.add(DOCUMENTS.get(29));
      assertFinds(index, DOCUMENTS);
      assertThat(index.get("d17")).contains(DOCUMENTS.get(17));
      assertThat(index.get("d30")).isEmpty();
    }
  }

  @Test
  void aProcessThatDiesWhileItAddsLeavesWhatWasThere() throws Exception {
    try (DocumentIndex index = DocumentIndex.open(folder(), encoder)) {
      index.add(DOCUMENTS.get(0));
    }
    ChildJvm.run(List.of("-Xmx64m"), Dying.class, folder().toString());
    try (DocumentIndex index = DocumentIndex.open(folder(), encoder)) {
      assertThat(index.size()).isEqualTo(1);
      index.addAll(DOCUMENTS.stream().skip(1));
      assertFinds(index, DOCUMENTS);
    }
  }

  /** Adds, and ends as if it were killed. */
  static final class Dying {
    public static void main(String[] args) {
      try (DocumentIndex index = DocumentIndex.open(Path.of(args[0]), 64)) {
        Stream<Document> documents =
            IntStream.range(0, 1_000)
                .mapToObj(
                    i -> {
                      if (i == 999) {
                        Runtime.getRuntime().halt(0);
                      }
                      return new Document("x" + i, "", "text");
                    });
        index.addAll(documents, RandomVectors.normal(1_000, 64, 1).stream());
      }
    }
  }

  @Test
  void aCollectionIsAdded() throws IOException {
    Path collection =
        Files.writeString(
            parent.resolve("corpus.jsonl"),
            """
            {"_id": "a", "title": "Llamas", "text": "They live high up."}
            {"_id": "b", "title": " ", "text": ""}
            {"_id": "c", "text": "A lighthouse warns ships."}
            """);
    try (DocumentIndex index = DocumentIndex.temporary(encoder)) {
      index.addAll(collection);
      assertThat(ids(index.search("ships", 5))).containsExactlyInAnyOrder("a", "c");
      assertThat(index.get("c")).contains(new Document("c", "", "A lighthouse warns ships."));
    }
  }

  @Test
  void vectorsNeedNoEncoder() {
    List<float[]> vectors = RandomVectors.normal(30, 12, 3);
    try (DocumentIndex index = DocumentIndex.open(folder(), 12)) {
      index.addAll(DOCUMENTS.subList(0, 25).stream(), vectors.subList(0, 25).stream());
      for (int i = 25; i < 30; i++) {
        index.add(DOCUMENTS.get(i), vectors.get(i));
      }
    }
    try (DocumentIndex index = DocumentIndex.open(folder(), 12);
        ExactSearch exact = new ExactSearch(new InMemoryVectors(vectors), 1)) {
      for (float[] query : RandomVectors.normal(5, 12, 4)) {
        Hits expected = exact.search(Query.of(query), 30);
        List<SearchHit> hits = index.search(query, 30);
        assertThat(ids(hits))
            .isEqualTo(expected.indices().asList().stream().map(i -> "d" + i).toList());
        assertThat(hits.stream().map(SearchHit::score).toList())
            .isEqualTo(expected.scores().asList());
      }
      assertThatIllegalArgumentException()
          .isThrownBy(() -> index.search("a text", 1))
          .withMessageContaining("no encoder");
      assertThatIllegalStateException()
          .isThrownBy(() -> index.add(new Document("x", "", "text")))
          .withMessageContaining("no encoder");
    }
  }

  /** More vectors than a block has, in several segments. */
  @Test
  void blocksAndSegmentsMakeNoDifference() {
    List<float[]> vectors = RandomVectors.normal(6_000, 1_024, 5);
    try (DocumentIndex index = DocumentIndex.open(folder(), 1_024);
        ExactSearch exact = new ExactSearch(new InMemoryVectors(vectors), 1)) {
      for (int begin = 0; begin < 6_000; begin += 1_500) {
        index.addAll(
            IntStream.range(begin, begin + 1_500).mapToObj(i -> new Document("d" + i, "", "")),
            vectors.subList(begin, begin + 1_500).stream());
      }
      Query query = Query.of(RandomVectors.normal(1, 1_024, 6).get(0));
      assertThat(ids(index.search(List.of(query), 50).get(0)))
          .isEqualTo(
              exact.search(query, 50).indices().asList().stream().map(i -> "d" + i).toList());
    }
  }

  @Test
  void wordsMayCountToo() {
    Fusion wordsAlone = Fusion.zScores(0);
    try (DocumentIndex index =
        DocumentIndex.builder(folder()).encoder(encoder).fusion(wordsAlone).open()) {
      index.add(new Document("llama", "Llamas", "They carry loads."));
      index.add(new Document("ship", "Ships", "A lighthouse warns them."));
      assertThat(ids(index.search("lighthouse", 1))).containsExactly("ship");
      assertThat(ids(index.search("loads of llamas", 1))).containsExactly("llama");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> index.search(new float[encoder.dimension()], 1))
          .withMessageContaining("no text");
    }
    // The words are in the folder in any case.
    try (DocumentIndex index = DocumentIndex.open(folder(), encoder)) {
      assertThat(index.search("lighthouse", 5)).hasSize(2);
    }
  }

  @Test
  void anotherEncoderIsRefusedAndWhatDiffersIsNamed() throws IOException {
    try (DocumentIndex index = DocumentIndex.open(folder(), encoder)) {
      index.add(DOCUMENTS.get(0));
    }
    try (Encoder shorter = builder().maxTokens(32).normalize(false).build()) {
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> DocumentIndex.open(folder(), shorter))
          .withMessageContaining(folder().toString())
          .withMessageContaining("another encoder")
          .withMessageContaining("maximum tokens: 64 then, 32 now")
          .withMessageContaining("normalized: true then, false now");
    }
    try (Encoder cut = builder().dimension(32).build()) {
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> DocumentIndex.open(folder(), cut))
          .withMessageContaining("dimension: 64 then, 32 now");
    }
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(
            () ->
                DocumentIndex.builder(folder()).encoder(encoder).modes(Mode.SELF, Mode.SELF).open())
        .withMessageContaining("mode of queries: NEXT then, SELF now");
    try (Encoder other = new Reversed(encoder)) {
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> DocumentIndex.open(folder(), other))
          .withMessageContaining("vector of a sample query")
          .withMessageContaining("cosine");
    }
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> DocumentIndex.open(folder(), 65))
        .withMessageContaining("dimension: 64 then, 65 now");
    // The same in another type is the same.
    try (Encoder half = builder().computeType(ComputeType.BFLOAT16).build();
        DocumentIndex index = DocumentIndex.open(folder(), half)) {
      assertThat(index.size()).isEqualTo(1);
    }
    try (DocumentIndex index = DocumentIndex.open(folder(), 64)) {
      index.add(DOCUMENTS.get(1), new float[64]);
    }
    // Nor does an addition without an encoder make another index of it.
    try (Encoder other = new Reversed(encoder)) {
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> DocumentIndex.open(folder(), other));
    }
    DocumentIndex.open(folder(), encoder).close();
  }

  /** An encoder that says of itself what another does, and makes other vectors. */
  private record Reversed(Encoder of) implements Encoder {
    @Override
    public float[] encode(String text, Mode mode) {
      float[] vector = of.encode(text, mode);
      Collections.reverse(com.google.common.primitives.Floats.asList(vector));
      return vector;
    }

    @Override
    public int dimension() {
      return of.dimension();
    }

    @Override
    public int maxTokens() {
      return of.maxTokens();
    }

    @Override
    public io.llara.prompt.PromptTemplate template() {
      return of.template();
    }
  }

  @Test
  void badInputIsRefusedAndAddsNothing() {
    List<float[]> three = RandomVectors.normal(3, 4, 7);
    try (DocumentIndex index = DocumentIndex.open(folder(), 4)) {
      index.add(new Document("old", "", "text"), three.get(0));
      assertRefused(
          () -> index.add(new Document("x", "", "text"), new float[5]),
          "the vector of document 'x' has the dimension 5, the index 4");
      for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, 1e19f}) {
        assertRefused(
            () -> index.add(new Document("x", "", "text"), new float[] {1, 2, bad, 3}),
            "the vector of document 'x'");
      }
      assertRefused(
          () -> index.add(new Document("old", "", "other"), three.get(1)),
          "the index already has a document 'old'");
      assertRefused(
          () ->
              index.addAll(
                  Stream.of("a", "b", "a").map(id -> new Document(id, "", "text")), three.stream()),
          "the index already has a document 'a'");
      assertRefused(
          () ->
              index.addAll(
                  Stream.of("a", "b").map(id -> new Document(id, "", "text")), three.stream()),
          "there are more vectors than documents");
      assertRefused(
          () ->
              index.addAll(
                  Stream.of("a", "b", "c", "d").map(id -> new Document(id, "", "text")),
                  three.stream()),
          "there is no vector for document 'd'");
      assertThat(index.size()).isEqualTo(1);
      assertRefused(() -> index.search(new float[3], 1), "dimension");
      assertRefused(() -> index.search(new float[4], 0), "k is 0");
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> index.search(new float[] {1, Float.NaN, 1, 1}, 1))
          .withMessageContaining("value 1 is NaN");
      index.add(new Document("x", "", "text"), three.get(1));
      assertThat(index.size()).isEqualTo(2);
    }
    try (DocumentIndex index = DocumentIndex.temporary(encoder)) {
      assertRefused(
          () -> index.addAll(Stream.of(DOCUMENTS.get(0), new Document("blank", " ", ""))),
          "document 'blank' has neither title nor text");
      assertThat(index.size()).isZero();
      assertRefused(() -> index.search(" ", 1), "");
    }
    assertRefused(() -> DocumentIndex.open(folder(), 0), "the dimension is 0");
    assertRefused(
        () -> DocumentIndex.builder(folder()).encoder(encoder).dimension(3).open(),
        "the dimension is 3; expected 64");
  }

  private static void assertRefused(Runnable call, String message) {
    assertThatIllegalArgumentException().isThrownBy(call::run).withMessageContaining(message);
  }

  @Test
  void whatTheStreamThrowsAddsNothing() {
    try (DocumentIndex index = DocumentIndex.open(folder(), encoder)) {
      Stream<Document> failing =
          DOCUMENTS.stream()
              .peek(
                  document -> {
                    if (document.id().equals("d20")) {
                      throw new IllegalStateException("enough");
                    }
                  });
      assertThatIllegalStateException()
          .isThrownBy(() -> index.addAll(failing))
          .withMessage("enough");
      assertThat(index.size()).isZero();
      index.addAll(DOCUMENTS.stream());
      assertFinds(index, DOCUMENTS);
    }
  }

  @Test
  void closedIsClosed() {
    DocumentIndex index = DocumentIndex.open(folder(), encoder);
    index.close();
    index.close();
    assertThatIllegalStateException()
        .isThrownBy(() -> index.search("text", 1))
        .withMessage("the index in " + folder() + " is closed");
    assertThatIllegalStateException().isThrownBy(() -> index.add(DOCUMENTS.get(0)));
    assertThatIllegalStateException().isThrownBy(index::size);
  }

  @Test
  void whatIsNoIndexOrDamagedIsRefused() throws IOException {
    Path other = Files.createDirectory(parent.resolve("other"));
    Files.writeString(other.resolve("notes.txt"), "mine");
    assertNotOpened(other, "holds no index");
    Path words = parent.resolve("words");
    Corpus corpus =
        new Corpus(
            "a",
            () -> new java.io.ByteArrayInputStream("{\"_id\":\"a\",\"text\":\"x\"}".getBytes()));
    Bm25Index.build(words, corpus, Bm25Options.DEFAULT).close();
    assertNotOpened(words, "another kind");
    assertNotOpened(Files.writeString(parent.resolve("file"), ""), "file");
    try (DocumentIndex index = DocumentIndex.open(folder(), 4)) {
      index.add(new Document("a", "", "text"), new float[] {1, 2, 3, 4});
    }
    try (Stream<Path> files = Files.list(folder())) {
      for (Path file : files.filter(path -> !path.endsWith("write.lock")).toList()) {
        byte[] content = Files.readAllBytes(file);
        Files.write(file, Arrays.copyOf(content, content.length / 2));
        assertNotOpened(folder(), "index");
        Files.write(file, content);
      }
    }
    DocumentIndex.open(folder(), 4).close();
  }

  private static void assertNotOpened(Path folder, String message) {
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> DocumentIndex.open(folder, 4))
        .withMessageContaining(folder.toString())
        .withMessageContaining(message);
  }

  @Test
  void twoThatAddAtOnceAreRefused() {
    try (DocumentIndex one = DocumentIndex.open(folder(), 4);
        DocumentIndex other = DocumentIndex.open(folder(), 4)) {
      Stream<Document> documents =
          Stream.of("a")
              .map(
                  id -> {
                    assertThatExceptionOfType(LlaraException.class)
                        .isThrownBy(() -> other.add(new Document("b", "", ""), new float[4]))
                        .withMessageContaining("something else is adding");
                    return new Document(id, "", "");
                  });
      one.addAll(documents, Stream.of(new float[4], new float[4]).limit(1));
      assertThat(one.size()).isEqualTo(1);
    }
  }

  @Test
  void manyThreadsMaySearchWhileDocumentsAreAdded() throws InterruptedException {
    List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
    AtomicBoolean done = new AtomicBoolean();
    try (DocumentIndex index = DocumentIndex.open(folder(), 4)) {
      List<Thread> threads = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        Thread thread =
            new Thread(
                () -> {
                  try {
                    int before = 0;
                    while (!done.get()) {
                      int found = index.search(new float[] {1, 1, 1, 1}, 100).size();
                      assertThat(found).isGreaterThanOrEqualTo(before);
                      before = found;
                    }
                  } catch (Throwable e) {
                    failures.add(e);
                  }
                });
        thread.start();
        threads.add(thread);
      }
      for (int i = 0; i < 40; i++) {
        index.add(new Document("d" + i, "", ""), new float[] {i, 1, 2, 3});
      }
      done.set(true);
      for (Thread thread : threads) {
        thread.join();
      }
      assertThat(ids(index.search(new float[] {1, 0, 0, 0}, 2))).containsExactly("d39", "d38");
    }
    assertThat(failures).isEmpty();
  }

  @Test
  void nothingNativeIsLeft() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (DocumentIndex index = DocumentIndex.temporary(encoder)) {
            index.addAll(DOCUMENTS.stream().limit(5));
            index.search("a dog", 3);
          }
        });
  }
}
