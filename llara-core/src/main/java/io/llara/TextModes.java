package io.llara;

import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;

/** In which modes queries and passages are embedded. */
public enum TextModes {
  /** Queries in mode NEXT, passages in mode SELF: an answer follows its question. */
  N2S(Mode.NEXT, Mode.SELF),
  /** Both in mode SELF, for texts that are to be alike. */
  S2S(Mode.SELF, Mode.SELF),
  /** Both in mode NEXT. */
  N2N(Mode.NEXT, Mode.NEXT);

  private final Mode query;
  private final Mode passage;

  TextModes(Mode query, Mode passage) {
    this.query = query;
    this.passage = passage;
  }

  /** Returns the mode of queries. */
  public Mode query() {
    return query;
  }

  /** Returns the mode of passages. */
  public Mode passage() {
    return passage;
  }

  /** Returns the name in commands and files: {@code n2s}, {@code s2s}, {@code n2n}. */
  public String spelled() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** Returns the modes of a name. */
  public static Optional<TextModes> byName(String name) {
    return Arrays.stream(values()).filter(modes -> modes.spelled().equals(name)).findFirst();
  }
}
