package io.llara.train.mining;

import com.google.common.base.Ascii;
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
 * What mining found, dropped and kept. Passages are counted once for each pair: {@link Count#FOUND}
 * is the sum of the dropped, {@link Count#NOT_DRAWN} and {@link Count#MINED}. An immutable value.
 *
 * @param settings what decided the result, by name
 * @param counts how many there are of each
 * @param dropped how many passages that the search found in the rank window may not be negatives,
 *     by reason
 * @param recall the share of the exact search's passages that the approximate one found, on a
 *     sample of queries, if the search is approximate
 */
public record MiningReport(
    Map<String, String> settings,
    Map<Count, Long> counts,
    Map<DropReason, Long> dropped,
    OptionalDouble recall) {
  /** Below this, more is missed than a few passages at the edge. */
  private static final double LOW_RECALL = 0.9;

  /** What is counted. The names are those in the file of a report, in their order. */
  public enum Count {
    /** Pairs that were read and written. */
    PAIRS,
    /** Different queries of the pairs. */
    QUERIES,
    /** Lines that could not be used and were left out. */
    BAD_LINES,
    /** Passages of the collection. */
    PASSAGES,
    /** Passages that have the text of an earlier one. */
    DUPLICATE_PASSAGES,
    /** Documents without any text, which were left out. */
    BLANK_DOCUMENTS,
    /** Passages that the search had in the rank window. */
    FOUND,
    /** Passages found that might be negatives, but are more than were wanted. */
    NOT_DRAWN,
    /** Passages found that became negatives. */
    MINED,
    /** Negatives that the pairs had before and keep. */
    KEPT,
    /** Pairs for which fewer were mined than wanted. */
    PAIRS_WITH_FEWER,
    /** Pairs that have no negative at all. */
    PAIRS_WITHOUT_NEGATIVES,
    /** Positives of the pairs. */
    POSITIVES,
    /** Positives whose text is not in the collection. */
    POSITIVES_OUTSIDE,
    /** Positives that have no score, where margins need one. */
    POSITIVES_WITHOUT_SCORE,
    /** Pairs to which margins did not apply, as none of their positives has a score. */
    PAIRS_WITHOUT_MARGIN
  }

  /** Copies the maps; what is missing counts 0. */
  public MiningReport {
    settings = ImmutableMap.copyOf(settings);
    counts = complete(Count.class, counts);
    dropped = complete(DropReason.class, dropped);
  }

  private static <E extends Enum<E>> Map<E, Long> complete(Class<E> type, Map<E, Long> counts) {
    Map<E, Long> complete = new EnumMap<>(type);
    for (E each : type.getEnumConstants()) {
      complete.put(each, counts.getOrDefault(each, 0L));
    }
    return Maps.immutableEnumMap(complete);
  }

  /** Returns how many there are. */
  public long count(Count what) {
    return counts.getOrDefault(what, 0L);
  }

  /** Returns the file in which the report on a file of pairs stands: beside it. */
  public static Path fileBeside(Path pairs) {
    return pairs.resolveSibling(pairs.getFileName() + ".report.json");
  }

  /** Returns a summary for people, a line an element. */
  public List<String> summary() {
    List<String> lines = new ArrayList<>();
    long queries = count(Count.QUERIES);
    lines.add(
        "%s with %s over %s%s"
            .formatted(
                spelled(Count.PAIRS, "pair"),
                grouped(queries) + (queries == 1 ? " query" : " different queries"),
                spelled(Count.PASSAGES, "passage"),
                also()));
    if (count(Count.BAD_LINES) > 0) {
      lines.add(spelled(Count.BAD_LINES, "bad line") + " left out");
    }
    recall.ifPresent(
        share ->
            lines.add(
                "recall against exact search: %s%s"
                    .formatted(
                        format("%.4f", share),
                        share < LOW_RECALL ? "; that is low: search exactly instead" : "")));
    lines.add(spelled(Count.FOUND, "passage") + " in the rank window, all pairs together:");
    dropped.forEach(
        (reason, number) -> {
          if (number > 0) {
            lines.add("  %12s dropped: %s".formatted(grouped(number), reason.words()));
          }
        });
    if (count(Count.NOT_DRAWN) > 0) {
      lines.add("  %12s not drawn".formatted(grouped(count(Count.NOT_DRAWN))));
    }
    lines.add("  %12s mined".formatted(grouped(count(Count.MINED))));
    if (count(Count.KEPT) > 0) {
      lines.add(spelled(Count.KEPT, "negative") + " kept from before");
    }
    if (count(Count.POSITIVES_OUTSIDE) > 0) {
      lines.add(
          "%s of %s not in the collection"
              .formatted(
                  grouped(count(Count.POSITIVES_OUTSIDE)), spelled(Count.POSITIVES, "positive")));
    }
    if (count(Count.POSITIVES_WITHOUT_SCORE) > 0) {
      lines.add(
          "%s without a score; to %s margins did not apply"
              .formatted(
                  spelled(Count.POSITIVES_WITHOUT_SCORE, "positive"),
                  spelled(Count.PAIRS_WITHOUT_MARGIN, "pair")));
    }
    if (count(Count.PAIRS_WITH_FEWER) > 0) {
      lines.add(
          "%s got fewer negatives than wanted, %s none"
              .formatted(
                  spelled(Count.PAIRS_WITH_FEWER, "pair"),
                  grouped(count(Count.PAIRS_WITHOUT_NEGATIVES))));
    }
    return lines;
  }

  private String also() {
    List<String> parts = new ArrayList<>();
    if (count(Count.DUPLICATE_PASSAGES) > 0) {
      parts.add(grouped(count(Count.DUPLICATE_PASSAGES)) + " with the text of an earlier one");
    }
    if (count(Count.BLANK_DOCUMENTS) > 0) {
      parts.add(grouped(count(Count.BLANK_DOCUMENTS)) + " blank and left out");
    }
    return parts.isEmpty() ? "" : " (" + String.join(", ", parts) + ")";
  }

  private String spelled(Count what, String noun) {
    return grouped(count(what)) + " " + noun + (count(what) == 1 ? "" : "s");
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
    counts.forEach(
        (what, number) -> {
          json.addProperty(Ascii.toLowerCase(what.name()), number);
          if (what == Count.FOUND) {
            JsonObject reasons = new JsonObject();
            dropped.forEach(
                (reason, of) -> reasons.addProperty(Ascii.toLowerCase(reason.name()), of));
            json.add("dropped", reasons);
          }
        });
    recall.ifPresent(share -> json.addProperty("recall", share));
    return json;
  }
}
