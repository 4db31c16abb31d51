package io.llara.benchmarks;

import io.llara.ComputeType;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Something to measure, written {@code shape/type/work}, such as {@code base/float32/16x512}.
 *
 * @param work {@code <batch>x<length>}, {@code mixed}, {@code lanes} or {@code float32}
 */
record Scenario(Shape shape, ComputeType type, String work) {
  static final String MIXED = "mixed";
  static final String LANES = "lanes";
  static final String FLOAT32 = "float32";

  private static final Pattern BATCH = Pattern.compile("([0-9]{1,4})x([0-9]{1,4})");

  /** Checks the work. */
  Scenario {
    if (isBatch(work)) {
      Matcher matcher = BATCH.matcher(work);
      if (!matcher.matches()
          || Integer.parseInt(matcher.group(1)) < 1
          || Integer.parseInt(matcher.group(2)) <= Workload.MARKERS + 1
          || Integer.parseInt(matcher.group(2)) > Workload.MAX_TOKENS) {
        throw new IllegalArgumentException(
            "work is \"%s\"; expected mixed, lanes, float32 or <batch>x<length> with lengths of %d to %d"
                .formatted(work, Workload.MARKERS + 2, Workload.MAX_TOKENS));
      }
    }
  }

  /** Reads {@code shape/type/work}; each part may be several, separated by commas. */
  static List<Scenario> parse(String text) {
    String[] parts = text.split("/", -1);
    if (parts.length != 3) {
      throw new IllegalArgumentException(
          "scenario is \"" + text + "\"; expected shape/type/work, such as base/float32/16x512");
    }
    List<Scenario> scenarios = new ArrayList<>();
    for (String shape : parts[0].split(",")) {
      for (ComputeType type : types(parts[1])) {
        for (String work : parts[2].split(",")) {
          scenarios.add(new Scenario(Shape.parse(shape), type, work));
        }
      }
    }
    return scenarios;
  }

  private static List<ComputeType> types(String names) {
    if (names.equals("native")) {
      return Types.multipliedNatively();
    }
    return List.of(names.split(",")).stream().map(Types::parse).toList();
  }

  boolean isBatch() {
    return isBatch(work);
  }

  private static boolean isBatch(String work) {
    return !List.of(MIXED, LANES, FLOAT32).contains(work);
  }

  /** Returns the number of prompts of a batch. */
  int batch() {
    return number(1);
  }

  /** Returns the tokens of each prompt of a batch. */
  int length() {
    return number(2);
  }

  private int number(int group) {
    Matcher matcher = BATCH.matcher(work);
    if (!matcher.matches()) {
      throw new IllegalStateException(this + " is not a batch");
    }
    return Integer.parseInt(matcher.group(group));
  }

  @Override
  public String toString() {
    return String.format(Locale.ROOT, "%s/%s/%s", shape, Types.name(type), work);
  }
}
