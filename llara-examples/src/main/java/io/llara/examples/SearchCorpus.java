package io.llara.examples;

import io.llara.Encoder;
import io.llara.retrieval.Document;
import io.llara.retrieval.DocumentIndex;
import io.llara.retrieval.SearchHit;
import java.nio.file.Path;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * Embeds a collection of texts and prints the five nearest to a query.
 *
 * <p>Arguments: a query and a model directory, both optional; without the latter the default model
 * is used.
 */
public final class SearchCorpus {
  private SearchCorpus() {}

  /** Runs the example. */
  public static void main(String[] args) {
    String query = args.length > 0 ? args[0] : "animals of the mountains";

    try (Encoder encoder =
            args.length > 1 ? Encoder.load(Path.of(args[1])) : Encoder.loadDefault();
        DocumentIndex index = DocumentIndex.temporary(encoder);
        Stream<Document> documents = Demo.corpus().documents()) {
      index.addAll(documents);
      for (SearchHit hit : index.search(query, 5)) {
        System.out.printf(Locale.ROOT, "%.4f  %s%n", hit.score(), hit.document().title());
      }
    }
  }
}
