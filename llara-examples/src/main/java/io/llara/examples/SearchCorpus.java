package io.llara.examples;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.train.retrieval.Document;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
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

    try (Encoder encoder = Encoder.load(model)) {
      float[] wanted = encoder.encode(query, Mode.NEXT);
      List<String> passages = documents.stream().map(Document::passage).toList();
      // One call for all of them: texts of like length share a batch.
      List<float[]> vectors = encoder.encodeAll(passages, Mode.SELF);
      double[] scores =
          vectors.stream().mapToDouble(vector -> Similarity.cosine(wanted, vector)).toArray();

      IntStream.range(0, scores.length)
          .boxed()
          .sorted(Comparator.comparingDouble((Integer i) -> scores[i]).reversed())
          .limit(5)
          .forEach(
              i ->
                  System.out.printf(
                      Locale.ROOT, "%.4f  %s%n", scores[i], documents.get(i).title()));
    }
  }
}
