package io.llara.train.data;

import io.llara.io.JsonSection;
import java.util.List;

/** Reads a line of a file of pairs. */
final class PairLine {
  private static final String POSITIVES = "pos";

  private PairLine() {}

  static TrainingPair of(JsonSection json) {
    String query = json.requiredText("query");
    List<String> positives =
        json.texts(POSITIVES).orElseThrow(() -> json.missing(POSITIVES, "a list of passages"));
    if (positives.isEmpty()) {
      throw json.invalid(POSITIVES, "an empty list", "at least one passage that answers the query");
    }
    // Null is what tools write for a list that is not there.
    return new TrainingPair(query, positives, json.texts("neg").orElse(List.of()), json.place());
  }
}
