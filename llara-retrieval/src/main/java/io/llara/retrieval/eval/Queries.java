package io.llara.retrieval.eval;

import io.llara.LlaraException;
import io.llara.retrieval.JsonLines;
import io.llara.retrieval.TextLines;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;

/** The queries of a collection in BEIR format. */
public final class Queries {
  private Queries() {}

  /**
   * Reads a file of one JSON object a line with {@code _id} and {@code text}, plain or gzipped.
   *
   * @return the texts by their ids, in the order of the file; some may be blank
   * @throws LlaraException naming file and line if a line is something else, or an id is repeated
   */
  public static Map<String, String> read(Path file) {
    Map<String, String> texts = new LinkedHashMap<>();
    Map<String, Long> numbers = new HashMap<>();
    try (JsonLines lines = new JsonLines(TextLines.of(file, "a file of one JSON object a line"))) {
      while (lines.advance()) {
        String id = lines.string("_id");
        texts.put(id, lines.string("text"));
        Long before = numbers.putIfAbsent(id, lines.number());
        if (before != null) {
          throw lines.wrong("has the id '%s' of line %d again".formatted(id, before));
        }
      }
    }
    return Collections.unmodifiableMap(texts);
  }
}
