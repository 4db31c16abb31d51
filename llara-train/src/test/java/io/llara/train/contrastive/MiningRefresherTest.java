package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.ComputeType;
import io.llara.TextModes;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.HnswOptions;
import io.llara.retrieval.Shard;
import io.llara.retrieval.StoredVectors;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.mining.HardNegativeMiner;
import io.llara.train.mining.Sampling;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TrainingRuns;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Negatives from a search with the model that is being trained. */
class MiningRefresherTest {
  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  @TempDir Path dir;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, true);
    data = Finetunings.data(shared, 20);
  }

  private static HardNegativeMiner.Builder miner() {
    return HardNegativeMiner.builder().ranks(0, 8).negatives(3);
  }

  private static MiningRefresher refresher(HardNegativeMiner.Builder miner, TextModes modes) {
    return new MiningRefresher(
        miner.build(),
        modes,
        encoder -> encoder.threads(1).computeType(ComputeType.FLOAT32),
        Optional.empty());
  }

  private static List<TrainingPair> read(Path file) {
    List<TrainingPair> pairs = new ArrayList<>();
    try (var stream = Dataset.ofPairs(List.of(file)).open()) {
      stream.forEachRemaining(pairs::add);
    }
    return pairs;
  }

  private ContrastiveTrainer.Builder builder(Path out, MiningRefresher refresher) {
    return Finetunings.full(model, data, out)
        .modes(TextModes.S2S)
        .learningRate(1e-2)
        .refresh(Refresh.every(3, refresher));
  }

  @Test
  void negativesAreThoseOfTheModelAndNoPositives() {
    Path out = dir.resolve("out");
    MiningRefresher refresher = refresher(miner(), TextModes.S2S);
    TrainingRuns.complete(builder(out, refresher));
    List<TrainingPair> before = read(data);
    List<TrainingPair> first = read(out.resolve("refresh/step-00000003/pairs.jsonl"));
    List<TrainingPair> second = read(out.resolve("refresh/step-00000006/pairs.jsonl"));
    assertThat(first).hasSameSizeAs(before);
    for (int i = 0; i < before.size(); i++) {
      assertThat(first.get(i).query()).isEqualTo(before.get(i).query());
      assertThat(first.get(i).positives()).isEqualTo(before.get(i).positives());
      assertThat(first.get(i).negatives())
          .hasSize(3)
          .doesNotContainAnyElementsOf(before.get(i).positives());
    }
    // Another model finds other ones.
    assertThat(IntStream.range(0, first.size()))
        .anyMatch(i -> !first.get(i).negatives().equals(second.get(i).negatives()));
    assertThat(out.resolve("refresh/step-00000003").toFile().list())
        .contains("pairs.jsonl", "refresh.json")
        .doesNotContain("model", "mined.jsonl");

    // And the same run again finds the same.
    Path again = dir.resolve("again");
    TrainingRuns.stopAfter(5, builder(again, refresher));
    TrainingRuns.complete(builder(again, refresher));
    assertThat(TrainingRuns.metrics(again)).isEqualTo(TrainingRuns.metrics(out)).hasSize(9);
    TrainingRuns.assertSameWeights(again, out);
  }

  @Test
  void aCollectionIsSearched() {
    Path corpus =
        TrainingRuns.write(
            dir.resolve("corpus.jsonl"),
            IntStream.range(0, 10)
                .mapToObj(i -> "{\"_id\": \"%d\", \"text\": \"tree number %d\"}".formatted(i, i))
                .toList());
    Path out = dir.resolve("out");
    TrainingRuns.complete(
        builder(out, refresher(miner().corpus(Corpus.of(corpus)), TextModes.N2S)).steps(4));
    assertThat(read(out.resolve("refresh/step-00000003/pairs.jsonl")))
        .hasSize(20)
        .allSatisfy(
            pair ->
                assertThat(pair.negatives())
                    .allSatisfy(text -> assertThat(text).startsWith("tree number ")));
  }

  /** What several processes encode is what one would, and each encodes a part of it. */
  @Test
  void processesShareTheEncoding() throws Exception {
    Path corpus =
        TrainingRuns.write(
            dir.resolve("corpus.jsonl"),
            IntStream.range(0, 1_040)
                .mapToObj(i -> "{\"_id\": \"%d\", \"text\": \"tree %d\"}".formatted(i, i))
                .toList());
    MiningRefresher mining = refresher(miner().corpus(Corpus.of(corpus)), TextModes.N2S);
    Path alone = dir.resolve("alone");
    TrainingRuns.complete(before(alone, mining));
    Path together = dir.resolve("together");
    Map<Integer, Long> encoded = new ConcurrentHashMap<>();
    NegativeRefresher recording =
        new NegativeRefresher() {
          @Override
          public void share(Path model, Dataset<TrainingPair> pairs, Shard share, Path folder) {
            mining.share(model, pairs, share, folder);
            Path file = folder.resolve(share.number() + "-of-2.vectors");
            try (StoredVectors vectors = StoredVectors.open(file)) {
              encoded.put(share.number(), vectors.count());
            }
          }

          @Override
          public void refresh(Path model, Dataset<TrainingPair> pairs, Path out) {
            assertThat(encoded).isEqualTo(Map.of(1, 1_024L, 2, 16L));
            mining.refresh(model, pairs, out);
          }
        };
    int port;
    try (ServerSocket socket = new ServerSocket(0)) {
      port = socket.getLocalPort();
    }
    ExecutorService ranks = Executors.newFixedThreadPool(2);
    try {
      List<Callable<Object>> tasks = new ArrayList<>();
      for (int i = 0; i < 2; i++) {
        WorldSettings world = new WorldSettings(i, 2, i, "127.0.0.1", port);
        tasks.add(() -> TrainingRuns.complete(before(together, recording).world(world)));
      }
      for (Future<Object> rank : ranks.invokeAll(tasks)) {
        rank.get();
      }
    } finally {
      ranks.shutdownNow();
    }
    assertThat(together.resolve("refresh/step-00000000/pairs.jsonl"))
        .hasSameBinaryContentAs(alone.resolve("refresh/step-00000000/pairs.jsonl"));
    assertThat(together.resolve("refresh/step-00000000").toFile().list())
        .contains("pairs.jsonl")
        .doesNotContain("model", "shares");
  }

  private ContrastiveTrainer.Builder before(Path out, NegativeRefresher refresher) {
    return Finetunings.full(model, data, out)
        .steps(4)
        .refresh(Refresh.every(10, refresher).from(0));
  }

  @Test
  void graphsAreSearchedIfAskedFor() {
    Path out = dir.resolve("out");
    MiningRefresher exact = refresher(miner(), TextModes.N2S);
    MiningRefresher graphs =
        new MiningRefresher(
            exact.miner(), TextModes.N2S, exact.encoder(), Optional.of(HnswOptions.DEFAULT));
    TrainingRuns.complete(before(out, graphs));
    // Of so few passages a graph misses none.
    TrainingRuns.complete(before(dir.resolve("exact"), exact));
    assertThat(out.resolve("refresh/step-00000000/pairs.jsonl"))
        .hasSameBinaryContentAs(dir.resolve("exact/refresh/step-00000000/pairs.jsonl"));
    assertThat(graphs.description()).startsWith(exact.description()).contains("HnswOptions");
  }

  @Test
  void whatDecidesTheNegativesIsSaid() {
    assertThat(refresher(miner().relativeMargin(0.05).seed(9), TextModes.S2S).description())
        .isEqualTo(
            "3 of ranks 0-8 in the passages of the pairs, relative margin 0.05, modes s2s, seed 9");
    assertThat(
            refresher(miner().margin(0.1).sampling(Sampling.TOP).keepNegatives(true), TextModes.N2S)
                .description())
        .isEqualTo(
            "3 of ranks 0-8 in the passages of the pairs, modes n2s, margin 0.1,"
                + " sampling top, keep negatives true");
  }
}
