package io.llara.examples;

import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.examples.search.PassageSearch;
import io.llara.examples.search.PassageSearch.Found;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.Document;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** A query in, the best passages of a collection out. */
@Command(
    name = "search",
    description = {
      "Finds the passages of a collection that are nearest to a query.",
      "",
      "Prints them best first, a line each: rank, cosine, id and text.",
      "",
      "The vectors of the collection are kept in a cache, under the SHA-256 of all they depend on:"
          + " model files, adapter, template, type, longest prompt and texts. A change in any of"
          + " them leads to other vectors. The cache may be deleted at any time.",
      ""
    })
final class SearchCommand implements Callable<Integer> {
  /** Longer passages are cut when they are shown: a result is a line, not a page. */
  private static final int SHOWN_CHARACTERS = 200;

  private final Streams streams;

  @Mixin private RetrievalOptions options = new RetrievalOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Option(
      names = "--corpus",
      paramLabel = "FILE",
      description =
          "The collection in BEIR format: a JSON object a line with _id, title and text; plain or"
              + " gzipped. By default a hundred bundled texts.")
  private @Nullable Path corpusFile;

  @Option(
      names = "--top",
      paramLabel = "N",
      defaultValue = "10",
      description = "How many passages to show (default: 10).")
  private int top = 10;

  @Parameters(paramLabel = "QUERY", description = "What to search for.")
  private String query = "";

  SearchCommand(Streams streams) {
    this.streams = streams;
  }

  @Override
  public Integer call() {
    if (top < 1) {
      throw new IllegalArgumentException("--top is " + top + "; expected 1 or more");
    }
    if (query.isBlank()) {
      throw new IllegalArgumentException("the query is blank");
    }
    Corpus corpus = corpusFile == null ? Demo.corpus() : Corpus.of(corpusFile);
    Corpus.Summary summary = corpus.summarize();
    noteBlank(corpus, summary);
    List<Found> found;
    try (ProgressOptions.Bar bar = progress.start(streams, "encoding", summary.documents());
        Encoder encoder = options.encoder(streams).progress(bar).build()) {
      PassageSearch search = new PassageSearch(encoder, corpus, summary, streams::note);
      found = search.best(query, top, options.cache());
    }
    show(found);
    return Llara.OK;
  }

  private void noteBlank(Corpus corpus, Corpus.Summary summary) {
    List<String> blank = summary.blankIds();
    if (!blank.isEmpty()) {
      streams.note(
          "%s: skipped documents with neither title nor text: %d (%s)"
              .formatted(corpus.name(), blank.size(), String.join(", ", blank)));
    }
    if (summary.documents() == 0) {
      throw new LlaraException(corpus.name() + ": holds no document with a text");
    }
  }

  private void show(List<Found> found) {
    try (Results results = new Results(streams.out())) {
      for (int i = 0; i < found.size(); i++) {
        Document document = found.get(i).document();
        String title = document.title().isBlank() ? "" : document.title() + ": ";
        results.line(
            String.format(
                Locale.ROOT,
                "%-3d %.4f  %s  %s",
                i + 1,
                found.get(i).score(),
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
