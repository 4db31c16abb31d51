package io.llara.examples;

import io.llara.retrieval.Bm25Options;
import io.llara.retrieval.Bm25Search;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.Fusion;
import io.llara.retrieval.HnswOptions;
import io.llara.retrieval.HybridSearch;
import io.llara.retrieval.SearchMethod;
import io.llara.retrieval.SignSearch;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The ways to search a collection, and how two of them are fused. */
final class SearcherOptions {
  static final String KINDS = "exact|hnsw|signs|bm25|hybrid";

  static final String DESCRIPTION =
      "exact: all vectors of the model; hnsw: along a graph, which misses some; signs: four"
          + " candidates for each hit by the signs of their values, which misses some too; bm25:"
          + " words (k1 0.9, b 0.4, English analysis); hybrid: exact and bm25, fused";

  @Option(
      names = "--fusion",
      paramLabel = "rrf|zscore",
      defaultValue = "rrf",
      description =
          "hybrid: add up reciprocal ranks, 1 / (60 + rank), or standard scores (default:"
              + " ${DEFAULT-VALUE}).")
  private FusionKind fusion = FusionKind.RRF;

  @Option(
      names = "--weight",
      paramLabel = "W",
      defaultValue = "0.5",
      description =
          "hybrid: the weight of the model, from 0 to 1; BM25 has the rest (default:"
              + " ${DEFAULT-VALUE}).")
  private double weight = 0.5;

  private enum FusionKind {
    RRF,
    ZSCORE
  }

  /** A way to search. */
  enum Kind {
    EXACT,
    HNSW,
    SIGNS,
    BM25,
    HYBRID;

    boolean needsModel() {
      return this != BM25;
    }
  }

  /**
   * Returns a way to search.
   *
   * @param embeddings the exact search by embeddings, if the kind needs a model
   */
  SearchMethod method(Kind kind, Optional<EmbeddingSearch> embeddings) {
    SearchMethod words = new Bm25Search(Bm25Options.DEFAULT);
    return switch (kind) {
      case EXACT -> embeddings.orElseThrow();
      case HNSW -> embeddings.orElseThrow().withHnsw(HnswOptions.DEFAULT);
      case SIGNS -> embeddings.orElseThrow().withSigns(SignSearch.OVERSAMPLING);
      case BM25 -> words;
      case HYBRID -> new HybridSearch(embeddings.orElseThrow(), words, fusion());
    };
  }

  /** Returns how the rankings of the model and of BM25 become one. */
  Fusion fusion() {
    return new Fusion(
        fusion == FusionKind.RRF ? Fusion.Kind.RECIPROCAL_RANK : Fusion.Kind.Z_SCORE, weight);
  }
}
