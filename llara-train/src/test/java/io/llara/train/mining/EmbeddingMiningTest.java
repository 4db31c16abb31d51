package io.llara.train.mining;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.JsonObject;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.retrieval.Bm25Options;
import io.llara.retrieval.Bm25Search;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.Fusion;
import io.llara.retrieval.HnswOptions;
import io.llara.retrieval.HybridSearch;
import io.llara.testing.Leaks;
import io.llara.testing.Stories;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.mining.MiningReport.Count;
import io.llara.train.testing.NativeThreads;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Mining by the embeddings of the small pretrained model. */
class EmbeddingMiningTest {
  private static final String[] WORDS = {
    "time", "girl", "named", "Lily", "park", "ball", "dog", "friend", "happy", "big", "tree",
    "house", "mom", "found", "play", "red", "bird", "water", "little", "said"
  };
  private static final int PASSAGES = 80;
  private static final int PAIRS = 12;

  /** Batches differ from a text alone. */
  private static final double ROUNDING = 1e-5;

  private static Encoder encoder;
  private static List<String> texts;
  private static Corpus corpus;

  @TempDir private Path folder;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    encoder =
        Encoder.builder(Stories.dir())
            .template("llara-paper")
            .computeType(ComputeType.FLOAT32)
            .threads(1)
            .build();
    Random random = new Random(11);
    texts = IntStream.range(0, PASSAGES).mapToObj(i -> words(random, 5)).toList();
    corpus =
        MiningFiles.corpus(
            IntStream.range(0, PASSAGES)
                .mapToObj(i -> MiningFiles.document("d" + i, texts.get(i)))
                .toArray(String[]::new));
  }

  @AfterAll
  static void close() {
    encoder.close();
  }

  private static String words(Random random, int count) {
    List<String> words = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      words.add(WORDS[random.nextInt(WORDS.length)]);
    }
    return String.join(" ", words) + ".";
  }

  private static String query(int i) {
    return texts.get(i).substring(0, 8) + "?";
  }

  /** Every third has its positive outside of the collection. */
  private static String positive(int i) {
    return i % 3 == 0 ? "Lily said: " + i : texts.get(i);
  }

  private Dataset<TrainingPair> pairs() throws IOException {
    return MiningFiles.pairs(
        folder.resolve("pairs.jsonl"),
        IntStream.range(0, PAIRS)
            .mapToObj(i -> MiningFiles.pair(query(i), positive(i)))
            .toArray(String[]::new));
  }

  private static HardNegativeMiner.Builder miner() {
    return HardNegativeMiner.builder()
        .corpus(corpus)
        .ranks(0, PASSAGES)
        .negatives(PASSAGES)
        .relativeMargin(0.02);
  }

  private static void assertMined(List<JsonObject> lines, Mode queries, Mode passages) {
    int dropped = 0;
    List<float[]> vectors = encoder.encodeAll(texts, passages);
    for (int i = 0; i < PAIRS; i++) {
      float[] query = encoder.encode(query(i), queries);
      double positive = Similarity.cosine(query, encoder.encode(positive(i), passages));
      double bound = positive - 0.02 * Math.abs(positive);
      List<String> ids = MiningFiles.strings(lines.get(i), "neg_ids");
      for (int place = 0; place < PASSAGES; place++) {
        double score = Similarity.cosine(query, vectors.get(place));
        boolean allowed = !texts.get(place).equals(positive(i)) && score <= bound;
        dropped += allowed ? 0 : 1;
        if (Math.abs(score - bound) > ROUNDING) {
          assertThat(ids.contains("d" + place)).isEqualTo(allowed);
        }
        if (ids.contains("d" + place)) {
          assertThat(
                  lines
                      .get(i)
                      .getAsJsonArray("neg_scores")
                      .get(ids.indexOf("d" + place))
                      .getAsDouble())
              .isCloseTo(score, within(ROUNDING));
        }
      }
    }
    assertThat(dropped).as("cases where the margin counts").isGreaterThan(PAIRS * 2);
  }

  @Test
  void findsWhatTheModelRanksHigh() throws IOException {
    Path out = folder.resolve("mined.jsonl");
    MiningReport report = miner().build().mine(pairs(), EmbeddingSearch.of(encoder), out);
    assertMined(MiningFiles.read(out), Mode.NEXT, Mode.SELF);
    assertThat(report.count(Count.POSITIVES_OUTSIDE)).isEqualTo(4);
    assertThat(report.count(Count.POSITIVES_WITHOUT_SCORE)).isZero();
    assertThat(report.recall()).isEmpty();
    assertThat(report.settings()).containsEntry("search", "exact").containsEntry("dimension", "64");

    Path again = folder.resolve("again.jsonl");
    miner().build().mine(pairs(), EmbeddingSearch.of(encoder), again);
    assertThat(again).hasSameBinaryContentAs(out);
  }

  @Test
  void modesMayBeOthers() throws IOException {
    Path out = folder.resolve("mined.jsonl");
    miner().build().mine(pairs(), EmbeddingSearch.of(encoder).withModes(Mode.SELF, Mode.NEXT), out);
    assertMined(MiningFiles.read(out), Mode.SELF, Mode.NEXT);
  }

  @Test
  void aSecondRunTakesItsVectorsFromTheCache() throws IOException {
    Path cache = folder.resolve("cache");
    EmbeddingSearch search =
        EmbeddingSearch.of(encoder)
            .withCache(CachePlace.of(cache, Stories.dir(), Optional.empty()));
    Path out = folder.resolve("mined.jsonl");
    Path again = folder.resolve("again.jsonl");
    miner().build().mine(pairs(), search, out);
    long encoded = encoder.statistics().texts();
    MiningReport report = miner().build().mine(pairs(), search, again);
    assertThat(encoder.statistics().texts()).isEqualTo(encoded);
    assertThat(again).hasSameBinaryContentAs(out);
    assertThat(report.settings()).containsKey("model sha256");

    List<String> notes = new ArrayList<>();
    try (var files = Files.list(cache)) {
      for (Path file : files.toList()) {
        Files.write(file, new byte[10]);
      }
    }
    miner()
        .listener(
            new MiningListener() {
              @Override
              public void note(String message) {
                notes.add(message);
              }
            })
        .build()
        .mine(pairs(), search, again);
    assertThat(again).hasSameBinaryContentAs(out);
    assertThat(notes).isNotEmpty().allMatch(note -> note.contains("damaged"));
  }

  @Test
  void aGraphFindsNearlyTheSame() throws IOException {
    Path exact = folder.resolve("exact.jsonl");
    Path graph = folder.resolve("graph.jsonl");
    miner()
        .ranks(0, 20)
        .sampling(Sampling.TOP)
        .build()
        .mine(pairs(), EmbeddingSearch.of(encoder), exact);
    MiningReport report =
        miner()
            .ranks(0, 20)
            .sampling(Sampling.TOP)
            .build()
            .mine(pairs(), EmbeddingSearch.of(encoder).withHnsw(HnswOptions.DEFAULT), graph);
    // The graph keeps more candidates than there are passages.
    assertThat(report.recall()).hasValue(1);
    assertThat(graph).hasSameBinaryContentAs(exact);
    assertThat(report.summary()).contains("recall against exact search: 1.0000");
    assertThat(report.settings()).containsEntry("search", "HNSW");
  }

  @Test
  void wordsAndEmbeddingsMayBeFused() throws IOException {
    Path out = folder.resolve("mined.jsonl");
    Path again = folder.resolve("again.jsonl");
    HybridSearch hybrid =
        new HybridSearch(
            EmbeddingSearch.of(encoder),
            new Bm25Search(Bm25Options.DEFAULT),
            Fusion.reciprocalRank());
    MiningReport report = miner().build().mine(pairs(), hybrid, out);
    assertThat(report.settings())
        .containsEntry("search", "hybrid")
        .containsEntry("first search", "exact")
        .containsEntry("second search", "BM25");
    // Those outside of the collection are not found, so that they have no score.
    assertThat(report.count(Count.POSITIVES_OUTSIDE)).isEqualTo(4);
    assertThat(report.count(Count.POSITIVES_WITHOUT_SCORE)).isEqualTo(4);
    assertThat(report.count(Count.PAIRS_WITHOUT_MARGIN)).isEqualTo(4);
    assertThat(report.dropped().get(DropReason.POSITIVE)).isEqualTo(PAIRS - 4);
    assertThat(report.dropped().get(DropReason.RELATIVE_MARGIN)).isPositive();
    miner().build().mine(pairs(), hybrid, again);
    assertThat(again).hasSameBinaryContentAs(out);
  }

  @Test
  void leavesNothingBehind() throws Throwable {
    Path out = folder.resolve("mined.jsonl");
    Leaks.assertNone(
        () ->
            miner()
                .build()
                .mine(pairs(), EmbeddingSearch.of(encoder).withHnsw(HnswOptions.DEFAULT), out));
  }
}
