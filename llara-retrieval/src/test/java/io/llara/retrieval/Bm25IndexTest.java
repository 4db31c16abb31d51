package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.LlaraException;
import io.llara.testing.ChildJvm;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.Enumeration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.function.IntFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class Bm25IndexTest {
  /** None is a stop word, or stemmed. */
  private static final List<String> WORDS =
      List.of("ant", "bat", "cat", "cow", "dog", "eel", "elk", "fox", "hen", "owl");

  @TempDir private Path folder;

  @Test
  void ranksByTheFormulaOfBm25() {
    List<String> texts = randomTexts(200, 1);
    for (Bm25Options options :
        List.of(Bm25Options.DEFAULT, new Bm25Options(1.2f, 0.75f), new Bm25Options(0, 1))) {
      try (Bm25Index index = Bm25Index.build(corpus(texts), options)) {
        for (String query : List.of("fox", "ant owl", "cow cow cow hen", "elk missing dog bat")) {
          double[] expected = scores(texts, query, options);
          Hits hits = index.search(query, 1_000);
          assertThat(hits.size())
              .isEqualTo((int) IntStream.range(0, 200).filter(i -> expected[i] > 0).count());
          for (int i = 0; i < hits.size(); i++) {
            double score = hits.scores().get(i);
            // Lucene computes in float32.
            assertThat(score)
                .isCloseTo(expected[(int) hits.indices().get(i)], within(1e-5 * score));
          }
          assertOrdered(hits);
          Hits few = index.search(query, 10);
          assertThat(few.indices()).isEqualTo(hits.indices().subArray(0, 10));
          assertThat(few.scores()).isEqualTo(hits.scores().subArray(0, 10));
        }
      }
    }
  }

  @Test
  void scoresOneDocumentAsASearchWould() {
    List<String> texts = randomTexts(200, 2);
    try (Bm25Index index = Bm25Index.build(corpus(texts))) {
      for (String query : List.of("fox", "cow cow cow hen", "elk missing dog bat", "missing", "")) {
        Map<Long, Double> found = new HashMap<>();
        Hits hits = index.search(query, 200);
        for (int i = 0; i < hits.size(); i++) {
          found.put(hits.indices().get(i), hits.scores().get(i));
        }
        for (long i = 0; i < 200; i++) {
          OptionalDouble score = index.score(query, i);
          assertThat(score.isPresent()).isEqualTo(found.containsKey(i));
          // Summed in another order, maybe.
          long place = i;
          score.ifPresent(
              value -> assertThat(value).isCloseTo(found.get(place), within(1e-6 * value)));
        }
      }
      List<OptionalDouble> scores =
          index.score(
              List.of(
                  new Searcher.Candidate(Query.of("fox"), 7, ""),
                  new Searcher.Candidate(Query.of("fox"), -1, "fox")));
      assertThat(scores).containsExactly(index.score("fox", 7), OptionalDouble.empty());
      for (long none : new long[] {-1, 200}) {
        assertThatThrownBy(() -> index.score("fox", none))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessage("there is no document %d; the index has 200".formatted(none));
      }
      index.close();
      assertThatThrownBy(() -> index.score("fox", 0)).isInstanceOf(IllegalStateException.class);
    }
  }

  /** The obvious computation. */
  private static double[] scores(List<String> texts, String query, Bm25Options options) {
    List<List<String>> documents = texts.stream().map(text -> List.of(text.split(" "))).toList();
    double average = documents.stream().mapToInt(List::size).average().orElseThrow();
    double[] scores = new double[texts.size()];
    for (String word : query.split(" ")) {
      long frequency = documents.stream().filter(document -> document.contains(word)).count();
      double idf = Math.log(1 + (texts.size() - frequency + 0.5) / (frequency + 0.5));
      for (int i = 0; i < scores.length; i++) {
        double count = Collections.frequency(documents.get(i), word);
        double length = documents.get(i).size() / average;
        double norm = options.k1() * (1 - options.b() + options.b() * length);
        scores[i] += count == 0 ? 0 : idf * count / (count + norm);
      }
    }
    return scores;
  }

  @Test
  void ofEqualScoresTheSmallerIndexComesFirstHoweverManyThereAre() {
    // More than a thousand hits: Lucene then skips documents that cannot compete.
    List<String> texts = Collections.nCopies(5_000, "fox owl");
    try (Bm25Index index = Bm25Index.build(corpus(texts))) {
      assertThat(index.search("owl fox", 50).indices().asList())
          .isEqualTo(IntStream.range(0, 50).mapToObj(i -> (long) i).toList());
    }
  }

  @Test
  void blankDocumentsAreNotCounted() {
    String lines =
        """
        {"_id": "a", "title": " ", "text": ""}
        {"_id": "b", "title": "Foxes", "text": ""}
        {"_id": "c", "text": "the of and"}
        {"_id": "d", "title": "A", "text": "hen's FOX"}
        """;
    try (Bm25Index index = Bm25Index.build(jsonCorpus(lines))) {
      assertThat(index.documents()).isEqualTo(3);
      assertThat(index.search("foxes", 5).indices().asList()).containsExactly(0L, 2L);
      assertThat(index.search("hens", 5).indices().asList()).containsExactly(2L);
      assertThat(index.digest()).isEqualTo(jsonCorpus(lines).summarize().digest());
      // Stop words find nothing.
      assertThat(index.search("the", 5).size()).isZero();
    }
  }

  @Test
  void noCharacterOfAQueryIsAnOperator() {
    try (Bm25Index index = Bm25Index.build(corpus(List.of("fox hen", "fox", "owl")))) {
      for (String query :
          List.of(
              "fox -hen", "+fox", "fox: hen", "\"fox\" AND (hen", "fo? fox*~2", "fox^9 [a TO]")) {
        assertThat(index.search(query, 5).indices().asList()).as(query).contains(0L, 1L);
        assertThat(index.search(query, 5).indices().asList()).as(query).doesNotContain(2L);
      }
      for (String nothing : List.of("", " ", "*:*", "\uD83D\uDE00", "\uD800", "zebra")) {
        assertThat(index.search(nothing, 5).size()).as(nothing).isZero();
      }
    }
  }

  @Test
  void aQueryMayHaveAnyNumberOfWords() {
    List<String> texts = new ArrayList<>(List.of("fox w1 w2", "w1", "owl"));
    IntStream.range(0, 1_100).forEach(i -> texts.add("common w" + (i + 3)));
    try (Bm25Index index = Bm25Index.build(corpus(texts))) {
      String words =
          IntStream.range(0, 5_000).mapToObj(i -> "w" + i).collect(Collectors.joining(" "));
      Hits hits = index.search("common " + words + " owl owl", 2_000);
      // The repeated word weighs most, the common one least.
      assertThat(hits.indices().get(0)).isEqualTo(2);
      assertThat(hits.size()).isGreaterThan(1_000);
      assertThat(index.search("fox " + "owl ".repeat(100_000), 1).indices().get(0)).isEqualTo(2);
    }
  }

  @Test
  void aSecondBuildGivesTheSame() {
    List<String> texts = randomTexts(3_000, 7);
    try (Bm25Index one = Bm25Index.build(corpus(texts));
        Bm25Index other = Bm25Index.build(corpus(texts))) {
      List<String> queries = randomTexts(200, 8);
      List<Hits> together = one.search(queries.stream().map(Query::of).toList(), 100);
      for (int i = 0; i < queries.size(); i++) {
        assertThat(other.search(queries.get(i), 100)).isEqualTo(together.get(i));
      }
    }
  }

  @Test
  void staysInAFolderGivenAndIsOpenedAgain() throws IOException {
    Corpus corpus = corpus(List.of("fox hen", "fox fox fox", "owl"));
    Path kept = folder.resolve("kept");
    Hits hits;
    try (Bm25Index index = Bm25Index.build(kept, corpus, Bm25Options.DEFAULT)) {
      hits = index.search("fox", 5);
    }
    assertThat(hits.indices().asList()).containsExactly(1L, 0L);
    try (Bm25Index index = Bm25Index.open(kept, Bm25Options.DEFAULT)) {
      assertThat(index.search("fox", 5)).isEqualTo(hits);
      assertThat(index.digest()).isEqualTo(corpus.summarize().digest());
    }
    // Without a weight for repetition the two are equal.
    try (Bm25Index index = Bm25Index.open(kept, new Bm25Options(0, 0))) {
      assertThat(index.search("fox", 5).indices().asList()).containsExactly(0L, 1L);
    }
    assertThatThrownBy(() -> Bm25Index.build(kept, corpus, Bm25Options.DEFAULT))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("not empty");
  }

  @Test
  void refusesWhatIsNoIndex() throws IOException {
    Path empty = Files.createDirectory(folder.resolve("empty"));
    assertThatThrownBy(() -> Bm25Index.open(empty, Bm25Options.DEFAULT))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(empty.toString())
        .hasMessageContaining("no index");
    Path cut = folder.resolve("cut");
    Bm25Index.build(cut, corpus(randomTexts(100, 1)), Bm25Options.DEFAULT).close();
    try (Stream<Path> files = Files.list(cut)) {
      for (Path file : files.filter(f -> !f.toString().contains("segments")).toList()) {
        Files.write(file, new byte[20]);
      }
    }
    assertThatThrownBy(() -> Bm25Index.open(cut, Bm25Options.DEFAULT))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(cut.toString());
  }

  @Test
  void leavesNothingBehind() throws IOException, InterruptedException {
    // A process of its own, whose temporary folder nobody else uses.
    String printed = ChildJvm.run(List.of("-Djava.io.tmpdir=" + folder), TemporaryFolders.class);
    // From Java 23 on Lucene says that a newer one would be faster there.
    assertThat(printed).endsWith("open 1, closed 0, failed 0, forgotten 1\n");
    assertThat(folder).isEmptyDirectory();
  }

  /** Says how many temporary folders there are; the last index is not closed. */
  static final class TemporaryFolders {
    public static void main(String[] args) throws IOException {
      Bm25Index index = Bm25Index.build(corpus(List.of("fox")));
      System.out.printf("open %d, ", count());
      index.close();
      index.close();
      System.out.printf("closed %d, ", count());
      assertThatThrownBy(() -> Bm25Index.build(jsonCorpus("{\"_id\": \"a\", \"text\": \"x\"}\n{")))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining(":2: ");
      System.out.printf("failed %d, ", count());
      Bm25Index forgotten = Bm25Index.build(corpus(List.of("owl")));
      System.out.printf("forgotten %d%n", count() * forgotten.documents());
    }

    private static long count() throws IOException {
      try (Stream<Path> entries = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
        return entries.filter(Files::isDirectory).count();
      }
    }
  }

  @Test
  void aBuildThatFailsMakesNoFolder() {
    Path wanted = folder.resolve("wanted");
    assertThatThrownBy(() -> Bm25Index.build(wanted, jsonCorpus("{"), Bm25Options.DEFAULT))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(":1: ");
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void saysThatItIsClosed() {
    Bm25Index index = Bm25Index.build(corpus(List.of("fox")));
    index.close();
    assertThatThrownBy(() -> index.search("fox", 1))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("is closed");
  }

  @Test
  void refusesBadArguments() {
    try (Bm25Index index = Bm25Index.build(corpus(List.of("fox")))) {
      assertThatThrownBy(() -> index.search("fox", 0))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("k is 0");
      assertThatThrownBy(() -> index.search(Query.of(new float[] {1}), 1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("has no text");
    }
    assertThatThrownBy(() -> new Bm25Options(-1, 0.4f)).hasMessageContaining("k1 is -1");
    assertThatThrownBy(() -> new Bm25Options(Float.NaN, 0.4f)).hasMessageContaining("k1 is NaN");
    assertThatThrownBy(() -> new Bm25Options(1, 1.5f)).hasMessageContaining("b is 1.5");
    assertThatThrownBy(() -> new Bm25Options(1, Float.NaN)).hasMessageContaining("b is NaN");
  }

  @Test
  void manyThreadsMaySearchAndCloseAtAnyTime() throws InterruptedException {
    Bm25Index index = Bm25Index.build(corpus(randomTexts(2_000, 3)));
    Hits expected = index.search("fox owl", 100);
    CountDownLatch begun = new CountDownLatch(4);
    List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      Thread thread =
          new Thread(
              () -> {
                try {
                  while (true) {
                    assertThat(index.search("fox owl", 100)).isEqualTo(expected);
                    begun.countDown();
                  }
                } catch (IllegalStateException e) {
                  begun.countDown();
                } catch (Throwable e) {
                  failures.add(e);
                  begun.countDown();
                }
              });
      thread.start();
      threads.add(thread);
    }
    begun.await();
    index.close();
    for (Thread thread : threads) {
      thread.join();
    }
    assertThat(failures).isEmpty();
  }

  /** 90 MB of text through a heap of 40 MB. */
  @Test
  void theCollectionMayBeLargerThanTheHeap() throws IOException, InterruptedException {
    String printed = ChildJvm.run(List.of("-Xmx40m"), LargeCollection.class);
    assertThat(printed).endsWith("30000 documents, best 29999\n");
  }

  /** Indexes a collection that is made while it is read. */
  static final class LargeCollection {
    private static final int DOCUMENTS = 30_000;

    public static void main(String[] args) {
      // Long words: reading takes the time, not Porter's stems.
      String filler = ("a" + "bc".repeat(100) + " ").repeat(20);
      Corpus corpus =
          new Corpus(
              "a large one",
              () ->
                  lines(
                      i ->
                          "{\"_id\": \"%d\", \"text\": \"w%d %s\"}\n"
                              .formatted(i, i / 2, i % 2 == 0 ? filler : filler.substring(2_010))));
      try (Bm25Index index = Bm25Index.build(corpus)) {
        System.out.printf(
            "%d documents, best %d%n",
            index.documents(), index.search("w14999", 2).indices().get(0));
      }
    }

    private static InputStream lines(IntFunction<String> line) {
      return new SequenceInputStream(
          new Enumeration<>() {
            private int next;

            @Override
            public boolean hasMoreElements() {
              return next < DOCUMENTS;
            }

            @Override
            public InputStream nextElement() {
              return new ByteArrayInputStream(line.apply(next++).getBytes(StandardCharsets.UTF_8));
            }
          });
    }
  }

  private static void assertOrdered(Hits hits) {
    List<Integer> places = IntStream.range(0, hits.size()).boxed().toList();
    assertThat(places)
        .isSortedAccordingTo(
            Comparator.comparingDouble((Integer i) -> -hits.scores().get(i))
                .thenComparingLong(i -> hits.indices().get(i)));
  }

  private static List<String> randomTexts(int count, long seed) {
    Random random = new Random(seed);
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      // At most 40 words: beyond, Lucene rounds lengths.
      texts.add(
          IntStream.rangeClosed(0, random.nextInt(20))
              .mapToObj(word -> WORDS.get(Math.min(random.nextInt(10), random.nextInt(10))))
              .collect(Collectors.joining(" ")));
    }
    return texts;
  }

  private static Corpus corpus(List<String> texts) {
    Map<String, String> documents = new HashMap<>();
    StringBuilder lines = new StringBuilder();
    for (String text : texts) {
      String id = "d" + documents.size();
      documents.put(id, text);
      lines.append("{\"_id\": \"%s\", \"text\": \"%s\"}%n".formatted(id, text));
    }
    return jsonCorpus(lines.toString());
  }

  private static Corpus jsonCorpus(String lines) {
    byte[] bytes = lines.getBytes(StandardCharsets.UTF_8);
    return new Corpus("a test", () -> new ByteArrayInputStream(bytes));
  }
}
