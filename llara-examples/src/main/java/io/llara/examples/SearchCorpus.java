package io.llara.examples;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.retrieval.CorpusVectors;
import io.llara.retrieval.Document;
import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.InMemoryVectors;
import io.llara.retrieval.TextSet;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * Embeds a collection of texts and prints the five nearest to a query.
 *
 * <p>Arguments: a query and a model directory, both optional; without the latter a small bundled
 * language model is used, which was not trained as an encoder.
 */
public final class SearchCorpus {
  private SearchCorpus() {}

  /** Runs the example. */
  public static void main(String[] args) {
    String query = args.length > 0 ? args[0] : "animals of the mountains";
    Path model = args.length > 1 ? Path.of(args[1]) : Demo.model();
    List<Document> documents;
    try (Stream<Document> bundled = Demo.corpus().documents()) {
      documents = bundled.toList();
    }

    try (Encoder encoder = Encoder.load(model);
        CorpusVectors passages = CorpusVectors.open(TextSet.of(Demo.corpus()), encoder, Mode.SELF);
        ExactSearch search = new ExactSearch(encoder.lanes())) {
      InMemoryVectors wanted = InMemoryVectors.of(encoder.encode(query, Mode.NEXT));
      Hits hits = search.search(wanted, passages, 5).get(0);

      for (int i = 0; i < hits.size(); i++) {
        Document document = documents.get((int) hits.indices().get(i));
        System.out.printf(Locale.ROOT, "%.4f  %s%n", hits.scores().get(i), document.title());
      }
    }
  }
}
