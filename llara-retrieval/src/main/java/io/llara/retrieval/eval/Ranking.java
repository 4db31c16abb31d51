package io.llara.retrieval.eval;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * What was found for a query, in trec_eval's order: by falling score and, of equal scores, by
 * falling id, compared byte by byte in UTF-8 ("d9" before "d10"). Whatever order the documents are
 * given in, as trec_eval does not trust that of a file either.
 *
 * @param documents each at most once
 */
public record Ranking(List<ScoredDocument> documents) {
  private static final Comparator<ScoredDocument> BEST_FIRST =
      (a, b) -> {
        int byScore = Float.compare(b.score(), a.score());
        return byScore == 0 ? Arrays.compareUnsigned(bytes(b.id()), bytes(a.id())) : byScore;
      };

  /** Nothing was found. */
  public static final Ranking EMPTY = new Ranking(List.of());

  /** Sorts a copy; refuses a document that is there twice. */
  public Ranking {
    documents = documents.stream().sorted(BEST_FIRST).toList();
    Set<String> ids = new HashSet<>();
    for (ScoredDocument document : documents) {
      if (!ids.add(document.id())) {
        throw new IllegalArgumentException("document '%s' is there twice".formatted(document.id()));
      }
    }
  }

  private static byte[] bytes(String id) {
    return id.getBytes(StandardCharsets.UTF_8);
  }
}
