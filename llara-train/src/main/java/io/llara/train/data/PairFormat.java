package io.llara.train.data;

import io.llara.io.JsonSection;
import io.llara.io.LineReader;
import java.util.ArrayList;
import java.util.List;

/**
 * Lines of queries with passages; see {@link Dataset#ofPairs}.
 *
 * @param scored whether each passage must have a teacher's score
 */
record PairFormat(int minNegatives, boolean scored) implements LineFormat<TrainingPair> {
  private static final String POSITIVES = "pos";
  private static final String NEGATIVES = "neg";

  PairFormat {
    if (minNegatives < 0) {
      throw new IllegalArgumentException(
          "minNegatives is %d; expected 0 or more".formatted(minNegatives));
    }
  }

  @Override
  public Line<TrainingPair> read(LineReader line) {
    JsonSection json = line.json();
    String query = json.requiredText("query");
    List<String> positives =
        json.texts(POSITIVES).orElseThrow(() -> json.missing(POSITIVES, "a list of passages"));
    if (positives.isEmpty()) {
      throw json.invalid(POSITIVES, "an empty list", "at least one passage that answers the query");
    }
    // Null is what tools write for a list that is not there.
    List<String> negatives = json.texts(NEGATIVES).orElse(List.of());
    List<Double> scores = new ArrayList<>();
    if (scored) {
      scores.addAll(scores(json, POSITIVES, positives.size()));
      scores.addAll(scores(json, NEGATIVES, negatives.size()));
    }
    TrainingPair pair = new TrainingPair(query, positives, negatives, scores, json.place());
    return new Line<>(
        query,
        () -> {
          if (negatives.size() < minNegatives) {
            throw json.invalid(
                NEGATIVES,
                "a list of %d passages".formatted(negatives.size()),
                "at least %d".formatted(minNegatives));
          }
          return List.of(pair);
        });
  }

  private static List<Double> scores(JsonSection json, String passages, int count) {
    String key = passages + "_scores";
    List<Double> scores = json.numbers(key).orElse(List.of());
    if (scores.size() != count) {
      throw json.invalid(
          key,
          json.has(key) ? "a list of %d numbers".formatted(scores.size()) : "missing",
          "a teacher's score of each of the %d passages in '%s'".formatted(count, passages));
    }
    return scores;
  }

  @Override
  public String noun() {
    return "pair";
  }
}
