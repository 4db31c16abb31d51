package io.llara.train.mining;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Maps;
import com.google.gson.JsonObject;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;

/**
 * What mining found, dropped and kept. Passages are counted once for each pair: {@code found} is
 * the sum of {@code dropped}, {@code notDrawn} and {@code mined}. An immutable value.
 *
 * @param settings what decided the result, by name
 * @param pairs the pairs that were read and written
 * @param queries how many different queries they have
 * @param badLines lines that could not be used and were left out
 * @param passages the passages of the collection
 * @param duplicates how many of them have the text of an earlier one
 * @param blank documents without any text, which were left out
 * @param found passages that the search had in the rank window
 * @param dropped those of them that may be no negatives, by reason
 * @param notDrawn those of them that might be, but are more than were asked for
 * @param mined those of them that became negatives
 * @param kept negatives that the pairs had before and keep
 * @param incomplete pairs for which fewer were mined than asked for
 * @param without pairs that have no negative at all
 * @param positives the positives of the pairs
 * @param outside those of them whose text is not in the collection
 * @param unscored those of them that have no score, where margins ask for one
 * @param unbounded pairs to which margins did not apply, as none of their positives has a score
 * @param recall the share of the exact search's passages that the approximate one found, on a
 *     sample of queries, if the search is approximate
 */
public record MiningReport(
    Map<String, String> settings,
    long pairs,
    long queries,
    long badLines,
    long passages,
    long duplicates,
    long blank,
    long found,
    Map<DropReason, Long> dropped,
    long notDrawn,
    long mined,
    long kept,
    long incomplete,
    long without,
    long positives,
    long outside,
    long unscored,
    long unbounded,
    OptionalDouble recall) {
  /** Below this the passages that are missed are no few at the edge. */
  private static final double LOW_RECALL = 0.9;

  /** Copies the maps; a reason that is missing counts 0. */
  public MiningReport {
    settings = ImmutableMap.copyOf(settings);
    Map<DropReason, Long> complete = new EnumMap<>(DropReason.class);
    for (DropReason reason : DropReason.values()) {
      complete.put(reason, dropped.getOrDefault(reason, 0L));
    }
    dropped = Maps.immutableEnumMap(complete);
  }

  /** Returns the file in which the report on a file of pairs stands: beside it. */
  public static Path fileBeside(Path pairs) {
    return pairs.resolveSibling(pairs.getFileName() + ".report.json");
  }

  /** Returns a summary for people, a line an element. */
  public List<String> summary() {
    List<String> lines = new ArrayList<>();
    lines.add(
        "%s with %s over %s%s"
            .formatted(
                count(pairs, "pair"),
                grouped(queries) + (queries == 1 ? " query" : " different queries"),
                count(passages, "passage"),
                also(duplicates, "with the text of an earlier one", blank, "blank and left out")));
    if (badLines > 0) {
      lines.add(count(badLines, "bad line") + " left out");
    }
    recall.ifPresent(
        share ->
            lines.add(
                "recall against exact search: %s%s"
                    .formatted(
                        format("%.4f", share),
                        share < LOW_RECALL ? "; that is low: search exactly instead" : "")));
    lines.add(count(found, "passage") + " in the rank window, all pairs together:");
    dropped.forEach(
        (reason, number) -> {
          if (number > 0) {
            lines.add("  %12s dropped: %s".formatted(grouped(number), reason.words()));
          }
        });
    if (notDrawn > 0) {
      lines.add("  %12s not drawn".formatted(grouped(notDrawn)));
    }
    lines.add("  %12s mined".formatted(grouped(mined)));
    if (kept > 0) {
      lines.add(count(kept, "negative") + " kept from before");
    }
    if (outside > 0) {
      lines.add(
          "%s of %s not in the collection"
              .formatted(grouped(outside), count(positives, "positive")));
    }
    if (unscored > 0) {
      lines.add(
          "%s without a score; to %s margins did not apply"
              .formatted(count(unscored, "positive"), count(unbounded, "pair")));
    }
    if (incomplete > 0) {
      lines.add(
          "%s got fewer negatives than asked for, %s none"
              .formatted(count(incomplete, "pair"), grouped(without)));
    }
    return lines;
  }

  private static String also(long first, String firstWords, long second, String secondWords) {
    List<String> parts = new ArrayList<>();
    if (first > 0) {
      parts.add(grouped(first) + " " + firstWords);
    }
    if (second > 0) {
      parts.add(grouped(second) + " " + secondWords);
    }
    return parts.isEmpty() ? "" : " (" + String.join(", ", parts) + ")";
  }

  private static String count(long number, String noun) {
    return grouped(number) + " " + noun + (number == 1 ? "" : "s");
  }

  private static String grouped(long number) {
    return format("%,d", number);
  }

  private static String format(String form, Object value) {
    return String.format(Locale.ROOT, form, value);
  }

  JsonObject toJson() {
    JsonObject json = new JsonObject();
    JsonObject set = new JsonObject();
    settings.forEach(set::addProperty);
    json.add("settings", set);
    json.addProperty("pairs", pairs);
    json.addProperty("queries", queries);
    json.addProperty("bad_lines", badLines);
    json.addProperty("passages", passages);
    json.addProperty("duplicate_passages", duplicates);
    json.addProperty("blank_documents", blank);
    json.addProperty("found", found);
    JsonObject reasons = new JsonObject();
    dropped.forEach((reason, number) -> reasons.addProperty(reason.key(), number));
    json.add("dropped", reasons);
    json.addProperty("not_drawn", notDrawn);
    json.addProperty("mined", mined);
    json.addProperty("kept", kept);
    json.addProperty("pairs_with_fewer", incomplete);
    json.addProperty("pairs_without_negatives", without);
    json.addProperty("positives", positives);
    json.addProperty("positives_outside", outside);
    json.addProperty("positives_without_score", unscored);
    json.addProperty("pairs_without_margin", unbounded);
    recall.ifPresent(share -> json.addProperty("recall", share));
    return json;
  }
}
