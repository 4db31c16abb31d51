package io.llara.retrieval.eval;

import io.llara.LlaraException;
import io.llara.io.JsonSection;
import io.llara.io.LineReader;
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
    try (LineReader lines = LineReader.open(file, "a file of one JSON object a line")) {
      while (lines.advanceToText()) {
        JsonSection json = lines.json();
        String id = json.requiredScalar("_id");
        texts.put(id, json.requiredScalar("text"));
        Long before = numbers.putIfAbsent(id, lines.number());
        if (before != null) {
          throw lines.error("has the id '%s' of line %d again".formatted(id, before));
        }
      }
    }
    return Collections.unmodifiableMap(texts);
  }
}
