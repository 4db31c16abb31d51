package io.llara.examples;

import static java.util.Objects.requireNonNull;

import io.llara.Encoder;
import io.llara.examples.SearcherOptions.Kind;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.Document;
import io.llara.retrieval.Hits;
import io.llara.retrieval.Query;
import io.llara.retrieval.SearchMethod;
import io.llara.retrieval.Searcher;
import io.llara.retrieval.TextSet;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** A query in, the best passages of a collection out. */
@Command(
    name = "search",
    description = {
      "Finds the passages of a collection that match a query best.",
      "",
      "Prints them best first, one per line: rank, score, id and text. The score is the cosine, that"
          + " of BM25, or that of the fusion of both.",
      "",
      "The collection's vectors are cached under the SHA-256 of all they depend on: model files,"
          + " adapter, template, type, maximum length and texts. If any of them changes, the vectors"
          + " are computed again. The cache may be deleted at any time.",
      ""
    })
final class SearchCommand extends Subcommand {
  /** Longer passages are cut when they are shown: a result is a line, not a page. */
  private static final int SHOWN_CHARACTERS = 200;

  @Mixin private RetrievalOptions options = new RetrievalOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Option(
      names = "--corpus",
      paramLabel = "FILE",
      description =
          "The collection: JSON lines with _id, title and text, as corpus.jsonl of BEIR, or"
              + " collection.tsv of MS MARCO or psgs_w100.tsv of DPR; plain or gzipped (default: a"
              + " hundred bundled texts).")
  private @Nullable Path corpusFile;

  @Option(
      names = "--searcher",
      paramLabel = SearcherOptions.KINDS,
      defaultValue = "exact",
      description = SearcherOptions.DESCRIPTION + " (default: ${DEFAULT-VALUE}).")
  private Kind searcher = Kind.EXACT;

  @Mixin private SearcherOptions searchers = new SearcherOptions();

  @Option(
      names = "--top",
      paramLabel = "N",
      defaultValue = "10",
      description = "How many passages to show (default: 10).")
  private int top = 10;

  @Parameters(paramLabel = "QUERY", description = "What to search for.")
  private String query = "";

  @Override
  public Integer call() {
    if (top < 1) {
      throw new IllegalArgumentException("--top is " + top + "; expected 1 or more");
    }
    if (query.isBlank()) {
      throw new IllegalArgumentException("the query is blank");
    }
    Corpus corpus = corpusFile == null ? Demo.corpus() : Corpus.of(corpusFile);
    Corpus.Summary summary = corpus.summarizeUnique();
    noteBlank(corpus, summary);
    TextSet passages = TextSet.of(corpus, summary);
    Hits hits;
    try (ProgressOptions.Bar bar = progress.bar(streams())) {
      hits = searcher.needsModel() ? byModel(passages, bar) : byWords(passages, bar);
    }
    show(hits, corpus.documents(List.of(hits)));
    return Llara.OK;
  }

  private Hits byModel(TextSet passages, ProgressOptions.Bar bar) {
    // Of vectors of length 1 the inner product is the cosine.
    try (Encoder encoder = options.encoder().progress(bar).normalize(true).build()) {
      SearchMethod method = searchers.method(searcher, Optional.of(options.search(encoder)));
      Query wanted = Query.of(query).withVector(encoder.encodeQuery(query));
      try (Searcher open = method.open(passages, bar)) {
        return open.search(wanted, top);
      }
    }
  }

  private Hits byWords(TextSet passages, ProgressOptions.Bar bar) {
    try (Searcher open = searchers.method(searcher, Optional.empty()).open(passages, bar)) {
      return open.search(Query.of(query), top);
    }
  }

  private void noteBlank(Corpus corpus, Corpus.Summary summary) {
    List<String> blank = summary.blankIds();
    if (!blank.isEmpty()) {
      streams()
          .note(
              "%s: skipped documents with neither title nor text: %d (%s)"
                  .formatted(corpus.name(), blank.size(), String.join(", ", blank)));
    }
  }

  private void show(Hits hits, Map<Long, Document> documents) {
    try (Results results = new Results(streams().out())) {
      for (int i = 0; i < hits.size(); i++) {
        Document document = requireNonNull(documents.get(hits.indices().get(i)));
        String title = document.title().isBlank() ? "" : document.title() + ": ";
        results.line(
            String.format(
                Locale.ROOT,
                "%-3d %.4f  %s  %s",
                i + 1,
                hits.scores().get(i),
                printable(document.id()),
                shortened(printable(title + document.text()))));
      }
    }
  }

  /** Keeps a passage on one line, and its control characters away from the terminal. */
  private static String printable(String text) {
    return text.replaceAll("[\\s\\p{Cntrl}\\u0080-\\u009f\\u2028\\u2029]+", " ").strip();
  }

  private static String shortened(String text) {
    if (text.codePointCount(0, text.length()) <= SHOWN_CHARACTERS) {
      return text;
    }
    return text.substring(0, text.offsetByCodePoints(0, SHOWN_CHARACTERS - 1)).strip() + "…";
  }
}
