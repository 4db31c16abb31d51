package io.llara.tokenize;

import com.google.common.base.Splitter;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.IntStream;

/**
 * Bounds how often a backtracking search that begins at one place of a text may have to go back.
 * The native library searches for hours where that is often, and may then end the JVM.
 *
 * <p>A search goes back when a part of a sequence fails, at most once for each way to match what
 * stands before that part. A repetition without end has as many ways as the text has characters;
 * one after another they multiply. What follows the last part that can fail costs nothing.
 */
final class RegexSteps {
  /** What tokenizers need that try two ways to match white space, as LLaMA 3's does. */
  private static final double MOST_PER_CHARACTER = 2;

  private static final double MOST_CONSTANT = 1000;
  private static final int MOST_SLOW = 10;
  private static final int MOST_NESTED = 50;

  private static final Pattern GROUP =
      Pattern.compile("\\(\\?(?:[:=!>]|<[=!]|<\\w+>|[imadu-]*:)|\\((?!\\?)");
  private static final Pattern OPTIONS = Pattern.compile("\\(\\?[imadu-]+\\)");
  private static final Pattern ESCAPE =
      Pattern.compile("\\\\(?:[pPx]\\{[^}]*}|x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|.)", Pattern.DOTALL);
  private static final Pattern TIMES =
      Pattern.compile("[*+?]|\\{(?:\\d{1,6}(?:,\\d{0,6})?|,\\d{1,6})}");

  /** The bound is exceeded, or the expression is of a kind that has none. */
  private static final class Refused extends RuntimeException {
    private static final long serialVersionUID = 1L;

    final String reason;

    Refused(String reason) {
      super(reason, null, false, false);
      this.reason = reason;
    }
  }

  /**
   * A number of ways or steps, {@code constant + perCharacter · characters}.
   *
   * @param worse whether it grows faster than that
   * @param repeated the characters and classes that are repeated without end
   */
  private record Count(double constant, double perCharacter, boolean worse, Set<String> repeated) {
    static final Count ZERO = new Count(0, 0, false, Set.of());
    static final Count ONE = new Count(1, 0, false, Set.of());

    Count plus(Count other) {
      return new Count(
          constant + other.constant,
          perCharacter + other.perCharacter,
          worse || other.worse,
          union(other));
    }

    Count times(Count other) {
      return new Count(
          constant * other.constant,
          constant * other.perCharacter + perCharacter * other.constant,
          worse || other.worse || perCharacter > 0 && other.perCharacter > 0,
          union(other));
    }

    /** Returns a count that is no smaller than either. */
    Count most(Count other) {
      return new Count(
          Math.max(constant, other.constant),
          Math.max(perCharacter, other.perCharacter),
          worse || other.worse,
          union(other));
    }

    private Set<String> union(Count other) {
      Set<String> union = new HashSet<>(repeated);
      union.addAll(other.repeated);
      return union;
    }
  }

  /**
   * A part of an expression.
   *
   * @param ways in how many ways it may match
   * @param steps how often a search may go back within it before it fails
   * @param fails whether it can fail
   */
  private record Part(Count ways, Count steps, boolean fails) {
    static final Part CHARACTER = new Part(Count.ONE, Count.ONE, true);
  }

  private final String regex;
  private int at;
  private int nested;

  private RegexSteps(String regex) {
    this.regex = regex;
  }

  /**
   * Returns what makes a search take too many steps, as the end of a sentence on the expression.
   */
  static Optional<String> problem(String regex) {
    RegexSteps parser = new RegexSteps(regex);
    try {
      check(parser.alternatives());
      return parser.at < regex.length() ? Optional.of("has an unmatched ')'") : Optional.empty();
    } catch (Refused e) {
      return Optional.of(e.reason);
    }
  }

  private static void check(List<Part> alternatives) {
    List<Count> steps = alternatives.stream().map(Part::steps).toList();
    if (steps.stream().anyMatch(Count::worse)) {
      throw new Refused("has repetitions without end one after another");
    }
    if (steps.stream().mapToDouble(Count::constant).sum() > MOST_CONSTANT) {
      throw new Refused("has too many ways to match");
    }
    if (steps.stream().mapToDouble(Count::perCharacter).sum() > MOST_PER_CHARACTER) {
      // Alternatives that repeat different characters are not slow at the same place.
      List<Count> slow = steps.stream().filter(count -> count.perCharacter() > 0).toList();
      if (slow.size() > MOST_SLOW) {
        throw new Refused("has repetitions without end in " + slow.size() + " alternatives");
      }
      List<BitSet> characters = slow.stream().map(RegexSteps::characters).toList();
      for (BitSet here : characters) {
        double sum =
            IntStream.range(0, slow.size())
                .filter(other -> here.intersects(characters.get(other)))
                .mapToDouble(other -> slow.get(other).perCharacter())
                .sum();
        if (sum > MOST_PER_CHARACTER) {
          throw new Refused("repeats the same characters without end in several ways");
        }
      }
    }
  }

  /** Returns the characters that are repeated: all, where Java may read a class otherwise. */
  private static BitSet characters(Count count) {
    BitSet characters = new BitSet();
    for (String repeated : count.repeated()) {
      String inner = repeated.startsWith("[") ? repeated.substring(1) : repeated;
      for (int caseFlag : new int[] {0, Pattern.CASE_INSENSITIVE | Pattern.UNICODE_CASE}) {
        try {
          if (inner.contains("[") || inner.contains("&&") || inner.matches("(?s).*\\\\[hHR].*")) {
            throw new PatternSyntaxException("differs", repeated, 0);
          }
          int flags = caseFlag | Pattern.UNICODE_CHARACTER_CLASS | Pattern.DOTALL;
          Matcher run = Pattern.compile("(?:" + repeated + ")+", flags).matcher(Characters.ALL);
          while (run.find()) {
            characters.set(
                run.group().codePointAt(0), run.group().codePointBefore(run.group().length()) + 1);
          }
        } catch (PatternSyntaxException e) {
          characters.set(0, Character.MAX_CODE_POINT);
        }
      }
    }
    return characters;
  }

  private static final class Characters {
    static final String ALL =
        IntStream.rangeClosed(0, Character.MAX_CODE_POINT)
            .filter(c -> c < Character.MIN_SURROGATE || c > Character.MAX_SURROGATE)
            .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
            .toString();
  }

  private boolean isAt(String characters) {
    return at < regex.length() && characters.indexOf(regex.charAt(at)) >= 0;
  }

  /** Moves behind a pattern and returns its match, if the expression goes on with it. */
  private Optional<Matcher> take(Pattern pattern) {
    Matcher matcher = pattern.matcher(regex).region(at, regex.length());
    if (!matcher.lookingAt()) {
      return Optional.empty();
    }
    at = matcher.end();
    return Optional.of(matcher);
  }

  private List<Part> alternatives() {
    if (++nested > MOST_NESTED) {
      throw new Refused("has groups within groups, " + MOST_NESTED + " deep");
    }
    List<Part> alternatives = new ArrayList<>();
    do {
      alternatives.add(sequence());
    } while (isAt("|") && ++at > 0);
    nested--;
    return alternatives;
  }

  private Part sequence() {
    Count ways = Count.ONE;
    Count steps = Count.ZERO;
    // Of optional groups, which fail within.
    Count within = Count.ZERO;
    boolean fails = false;
    while (at < regex.length() && !isAt("|)")) {
      Part part = repeated();
      if (part.fails()) {
        steps = ways.times(part.steps());
        fails = true;
      } else {
        within = within.plus(part.steps());
      }
      ways = ways.times(part.ways());
    }
    return new Part(ways, steps.plus(within), fails);
  }

  private Part repeated() {
    int begin = at;
    boolean group = isAt("(");
    Part part = group ? group() : character();
    String unit = regex.substring(begin, at);
    Optional<Matcher> found = take(TIMES);
    if (found.isEmpty()) {
      return part;
    }
    String times = found.get().group();
    if (group && !times.equals("?")) {
      throw new Refused("repeats a group");
    }
    boolean lazy = isAt("?");
    if (lazy || isAt("+") && !times.endsWith("}")) {
      at++; // Lazy or possessive.
    }
    if (take(TIMES).isPresent()) {
      throw new Refused("repeats a repetition");
    }
    if (times.equals("?")) {
      return new Part(part.ways().plus(Count.ONE), group ? part.steps() : Count.ZERO, false);
    }
    Part repeated = repeated(times, unit);
    // A number of times that may be lazy or may as well be none: both are in this.
    return lazy
        ? new Part(repeated.ways().plus(Count.ONE), repeated.steps(), repeated.fails())
        : repeated;
  }

  /** Returns a repetition of one character or class. */
  private static Part repeated(String times, String unit) {
    Count endless = new Count(0, 1, false, Set.of(unit));
    if (!times.startsWith("{")) {
      return times.equals("+")
          ? new Part(endless, Count.ONE, true)
          : new Part(endless, Count.ZERO, false);
    }
    List<String> bounds = Splitter.on(',').splitToList(times.substring(1, times.length() - 1));
    int least = bounds.get(0).isEmpty() ? 0 : Integer.parseInt(bounds.get(0));
    String last = bounds.get(bounds.size() - 1);
    Count ways =
        last.isEmpty()
            ? endless
            : new Count(Math.max(1, Integer.parseInt(last) - least + 1), 0, false, Set.of());
    return new Part(ways, new Count(Math.max(1, least), 0, false, Set.of()), true);
  }

  private Part group() {
    Optional<Matcher> options = take(OPTIONS);
    String opening = options.or(() -> take(GROUP)).map(Matcher::group).orElse("");
    if (opening.isEmpty()) {
      throw new Refused("has a group of a kind that is not supported");
    }
    List<Part> parts = alternatives();
    if (options.isEmpty() && isAt(")")) {
      at++; // Options hold to the end of the group that they stand in.
    }
    Count ways = parts.stream().map(Part::ways).reduce(Count.ZERO, Count::plus);
    Count steps = parts.stream().map(Part::steps).reduce(Count.ZERO, Count::plus);
    Count either = ways.most(steps);
    return opening.matches("\\(\\?<?[=!]")
        ? new Part(either, either, true)
        : new Part(either, steps, parts.stream().allMatch(Part::fails));
  }

  private Part character() {
    if (isAt("\\")) {
      String escape = take(ESCAPE).map(Matcher::group).orElse("");
      if (escape.matches("\\\\[1-9gkX]")) {
        throw new Refused("refers back to a group");
      }
      at = escape.isEmpty() ? regex.length() : at;
    } else if (isAt("[")) {
      skipClass();
    } else {
      at += Character.charCount(regex.codePointAt(at));
    }
    return Part.CHARACTER;
  }

  private void skipClass() {
    int depth = 0;
    do {
      if (isAt("\\")) {
        at++;
      } else if (isAt("]")) {
        depth--;
      } else if (isAt("[")) {
        depth++;
        if (regex.startsWith("]", at + 1) || regex.startsWith("^]", at + 1)) {
          throw new Refused("has a class that begins with ']'");
        }
      }
      at++;
    } while (depth > 0 && at < regex.length());
    at = Math.min(at, regex.length());
  }
}
