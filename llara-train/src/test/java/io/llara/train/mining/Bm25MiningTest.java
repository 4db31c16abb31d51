package io.llara.train.mining;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonObject;
import io.llara.retrieval.Bm25Index;
import io.llara.retrieval.Bm25Options;
import io.llara.retrieval.Bm25Search;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.Hits;
import io.llara.testing.ChildJvm;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.mining.MiningReport.Count;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("slow")
class Bm25MiningTest {
  private static final String[] WORDS = {
    "ant", "bat", "cat", "cow", "dog", "eel", "elk", "fox", "hen", "owl", "pig", "rat", "yak"
  };

  @TempDir private Path folder;

  private static String words(Random random, int count) {
    List<String> words = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      words.add(WORDS[random.nextInt(WORDS.length)]);
    }
    return String.join(" ", words);
  }

  /** The same by the index alone, with strings and lists. */
  @Test
  void agreesWithASecondComputation() throws IOException {
    Random random = new Random(5);
    List<String> texts =
        IntStream.range(0, 300).mapToObj(i -> words(random, 2 + random.nextInt(8))).toList();
    Corpus corpus =
        MiningFiles.corpus(
            IntStream.range(0, 300)
                .mapToObj(i -> MiningFiles.document("d" + i, texts.get(i)))
                .toArray(String[]::new));
    List<String> queries = IntStream.range(0, 40).mapToObj(i -> words(random, 3)).toList();
    List<List<String>> positives =
        IntStream.range(0, 40)
            .mapToObj(
                i ->
                    List.of(
                        texts.get(random.nextInt(300)),
                        i % 4 == 0 ? "zebra " + i : texts.get(random.nextInt(300))))
            .toList();
    Dataset<TrainingPair> pairs =
        MiningFiles.pairs(
            folder.resolve("p"),
            IntStream.range(0, 40)
                .mapToObj(i -> MiningFiles.pair(queries.get(i), positives.get(i), List.of()))
                .toArray(String[]::new));
    Path out = folder.resolve("mined.jsonl");
    MiningReport report =
        HardNegativeMiner.builder()
            .corpus(corpus)
            .ranks(5, 60)
            .relativeMargin(0.1)
            .leastScore(0.5)
            .negatives(8)
            .sampling(Sampling.TOP)
            .build()
            .mine(pairs, new Bm25Search(Bm25Options.DEFAULT), out);
    List<JsonObject> lines = MiningFiles.read(out);

    long unbounded = 0;
    int bounded = 0;
    try (Bm25Index index = Bm25Index.build(corpus)) {
      for (int i = 0; i < 40; i++) {
        Hits all = index.search(queries.get(i), 300);
        double bound = Double.POSITIVE_INFINITY;
        for (int rank = 0; rank < all.size(); rank++) {
          if (positives.get(i).contains(texts.get((int) all.indices().get(rank)))) {
            bound = Math.min(bound, all.scores().get(rank));
          }
        }
        unbounded += bound == Double.POSITIVE_INFINITY ? 1 : 0;
        List<String> expected = new ArrayList<>();
        List<String> seen = new ArrayList<>();
        for (int rank = 0; rank < Math.min(60, all.size()); rank++) {
          String text = texts.get((int) all.indices().get(rank));
          double score = all.scores().get(rank);
          if (rank >= 5
              && !positives.get(i).contains(text)
              && !text.equals(queries.get(i))
              && !seen.contains(text)
              && score >= 0.5
              && expected.size() < 8) {
            if (score <= bound * 0.9) {
              expected.add(text);
            } else {
              bounded++;
            }
          }
          seen.add(text);
        }
        assertThat(MiningFiles.strings(lines.get(i), "neg")).isEqualTo(expected);
      }
    }
    assertThat(report.count(Count.PAIRS_WITHOUT_MARGIN)).isEqualTo(unbounded);
    assertThat(report.count(Count.POSITIVES_OUTSIDE)).isEqualTo(10);
    assertThat(bounded).as("cases where the margin counts").isGreaterThan(20);
  }

  @Test
  void aPositiveBelowTheWindowStillBoundsTheScores() throws IOException {
    List<String> documents = new ArrayList<>();
    for (int i = 0; i < 30; i++) {
      documents.add(MiningFiles.document("near" + i, "cat dog " + "owl ".repeat(i + 1)));
    }
    documents.add(MiningFiles.document("far", "dog " + "elk ".repeat(200)));
    documents.add(MiningFiles.document("farther", "dog " + "elk ".repeat(300)));
    Corpus corpus = MiningFiles.corpus(documents.toArray(String[]::new));
    Dataset<TrainingPair> pairs =
        MiningFiles.pairs(
            folder.resolve("p"),
            MiningFiles.pair("cat dog", "dog " + "elk ".repeat(200)),
            MiningFiles.pair("cat dog yak", "elk elk"));
    Path out = folder.resolve("mined.jsonl");
    MiningReport report =
        HardNegativeMiner.builder()
            .corpus(corpus)
            .ranks(0, 10)
            .margin(0)
            .build()
            .mine(pairs, new Bm25Search(Bm25Options.DEFAULT), out);
    // All ten are above it; nothing takes their place.
    assertThat(MiningFiles.strings(MiningFiles.read(out).get(0), "neg")).isEmpty();
    assertThat(report.dropped()).containsEntry(DropReason.MARGIN, 10L);
    assertThat(report.count(Count.PAIRS_WITHOUT_MARGIN)).isEqualTo(1);
    assertThat(report.count(Count.PAIRS_WITHOUT_NEGATIVES)).isEqualTo(1);
  }

  @Test
  void collectionAndPairsMayBeLargerThanTheHeap() throws IOException, InterruptedException {
    int documents = 3_000;
    Path corpus = folder.resolve("corpus.jsonl");
    Path pairs = folder.resolve("pairs.jsonl");
    Random random = new Random(3);
    String filler = "owl ".repeat(2_500);
    try (BufferedWriter out = Files.newBufferedWriter(corpus);
        BufferedWriter pairsOut = Files.newBufferedWriter(pairs)) {
      for (int i = 0; i < documents; i++) {
        String text = words(random, 12) + " number" + i + " " + filler;
        out.write(MiningFiles.document("d" + i, text) + "\n");
        if (i % 3 == 0) {
          pairsOut.write(MiningFiles.pair("number" + i + " fox", text) + "\n");
        }
      }
    }
    Path out = folder.resolve("mined.jsonl.gz");
    assertThat(Files.size(corpus)).isGreaterThan(28L << 20);
    String printed =
        ChildJvm.run(
            List.of("-Xmx28m"),
            MineOnce.class,
            pairs.toString(),
            corpus.toString(),
            out.toString());
    assertThat(printed).contains("1000 pairs, 3000 passages, 3000 mined");
    assertThat(MiningFiles.strings(MiningFiles.read(out).get(7), "pos_ids")).containsExactly("d21");
  }

  /** Mines in a process of its own. */
  static final class MineOnce {
    private MineOnce() {}

    public static void main(String[] args) {
      MiningReport report =
          HardNegativeMiner.builder()
              .corpus(Corpus.of(Path.of(args[1])))
              .ranks(1, 20)
              .negatives(3)
              .relativeMargin(0.1)
              .build()
              .mine(
                  Dataset.ofPairs(List.of(Path.of(args[0]))),
                  new Bm25Search(Bm25Options.DEFAULT),
                  Path.of(args[2]));
      System.out.printf(
          "%d pairs, %d passages, %d mined%n",
          report.count(Count.PAIRS), report.count(Count.PASSAGES), report.count(Count.MINED));
    }
  }
}
