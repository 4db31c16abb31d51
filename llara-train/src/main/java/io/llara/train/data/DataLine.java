package io.llara.train.data;

import io.llara.io.JsonSection;
import org.jspecify.annotations.Nullable;

/**
 * A line of a file of texts: a pair as the reference has them, or a document.
 *
 * @param text the key {@code input} of a pair, {@code text} of a document; not blank
 * @param targets the targets of a pair; null for a document
 * @param id the key {@code id}, or null
 */
record DataLine(String text, @Nullable Targets targets, @Nullable String id) {
  private static final String INPUT = "input";
  private static final String TEXT = "text";

  /** What the embeddings of a pair's text must predict; may be blank. */
  record Targets(String self, String next) {}

  /**
   * Reads a line.
   *
   * @throws io.llara.LlaraException if it is neither; names the line
   */
  static DataLine of(JsonSection json) {
    if (json.mentions(INPUT) && json.mentions(TEXT)) {
      throw json.invalid(TEXT, "there beside 'input'", "one of them: they are two forms");
    }
    // An empty id names nothing.
    String id = json.scalar("id").filter(name -> !name.isEmpty()).orElse(null);
    if (json.mentions(INPUT)) {
      Targets targets =
          new Targets(
              json.requiredString("output_summarize"), json.requiredString("output_predict"));
      return new DataLine(json.requiredText(INPUT), targets, id);
    }
    if (json.mentions(TEXT)) {
      return new DataLine(json.requiredText(TEXT), null, id);
    }
    throw json.missing(TEXT, "a document's text, or 'input' of a pair");
  }

  /**
   * Returns whether the line belongs to the held-out part: a hash of its id, or of its text when it
   * has none, falls into the given fraction. The same for the same document wherever it stands.
   */
  boolean isHeldOut(double fraction) {
    return JsonlStream.fallsInto(fraction, id == null ? text : id);
  }
}
