package io.llara.benchmarks.teachers;

import io.llara.Encoder;
import io.llara.benchmarks.DefaultEncoder;
import io.llara.retrieval.Bm25Options;
import io.llara.retrieval.Bm25Search;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.Fusion;
import io.llara.retrieval.HybridSearch;
import io.llara.retrieval.SearchListener;
import io.llara.retrieval.SearchMethod;
import io.llara.retrieval.eval.BeirDataset;
import io.llara.retrieval.eval.BeirEvaluator;
import io.llara.retrieval.eval.Evaluation;
import io.llara.retrieval.eval.Metric;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Prints one table of how well collections in BEIR format are searched: by BM25, by the models of
 * LangChain4j's jars, by the default encoder, and by the default encoder together with BM25.
 *
 * <pre>{@code
 * RetrievalTable CACHE THREADS COMPUTE_TYPE FOLDER…
 * }</pre>
 *
 * <p>Vectors are kept in the cache: a second run computes none, and one that was killed goes on.
 * The models of the jars have the prompts that they were trained with, and texts of at most {@value
 * JarEncoder#MAX_TOKENS} tokens; they are run by libtorch, in the type that is named if that is
 * bfloat16, otherwise in float32.
 */
public final class RetrievalTable {
  private static final List<Metric> METRICS = List.of(Metric.ndcg(10), Metric.recall(100));

  private final Path cache;
  private final List<BeirDataset> datasets;

  private RetrievalTable(Path cache, List<BeirDataset> datasets) {
    this.cache = cache;
    this.datasets = datasets;
  }

  /** Prints the table. */
  public static void main(String[] args) {
    if (args.length < 4) {
      System.err.println("usage: RetrievalTable CACHE THREADS COMPUTE_TYPE FOLDER…");
      System.exit(2);
    }
    int threads = Integer.parseInt(args[1]);
    boolean half = args[2].equals("bfloat16");
    ScalarType jarType = half ? ScalarType.BFloat16 : ScalarType.Float;
    RetrievalTable table =
        new RetrievalTable(
            Path.of(args[0]),
            Arrays.stream(args, 3, args.length)
                .map(folder -> BeirDataset.open(Path.of(folder), BeirEvaluator.DEFAULT_SPLIT))
                .toList());
    table.printHead();
    SearchMethod words = new Bm25Search(Bm25Options.DEFAULT);
    table.print("BM25", words);
    for (JarModel model : List.of(JarModel.MINILM, JarModel.E5_SMALL, JarModel.BGE_SMALL)) {
      String place = model.resource() + (half ? "-bfloat16" : "");
      try (Encoder encoder = new JarEncoder(model, Optional.of(jarType), threads)) {
        table.print(
            model.resource(),
            EmbeddingSearch.of(encoder).withCache(new CachePlace(table.cache, place)));
      }
    }
    try (Encoder encoder = DefaultEncoder.open(args[2], threads)) {
      SearchMethod search =
          EmbeddingSearch.of(encoder).withCache(DefaultEncoder.place(table.cache));
      table.print(DefaultEncoder.NAME, search);
      table.print(
          DefaultEncoder.NAME + " and BM25",
          new HybridSearch(search, words, Fusion.reciprocalRank()));
    }
  }

  private void print(String name, SearchMethod method) {
    StringBuilder row = new StringBuilder("| ").append(name).append(" |");
    for (BeirDataset dataset : datasets) {
      Progress progress = new Progress("%s, %s".formatted(name, dataset.name()));
      Evaluation evaluation = BeirEvaluator.of(dataset).evaluate(name, method, progress);
      METRICS.forEach(
          metric -> row.append(String.format(Locale.ROOT, " %.4f |", evaluation.mean(metric))));
    }
    System.out.println(row);
  }

  private void printHead() {
    StringBuilder head = new StringBuilder("| |");
    StringBuilder line = new StringBuilder("|---|");
    for (BeirDataset dataset : datasets) {
      METRICS.forEach(metric -> head.append(" %s %s |".formatted(dataset.name(), metric.label())));
      METRICS.forEach(metric -> line.append("---:|"));
    }
    System.out.println(head);
    System.out.println(line);
  }

  /** Says what is under way. */
  private record Progress(String name) implements SearchListener {
    @Override
    public void encoding(String what, long texts) {
      System.err.printf("%tT %s: %d %s%n", System.currentTimeMillis(), name, texts, what);
    }

    @Override
    public void note(String message) {
      System.err.println(name + ": " + message);
    }
  }
}
