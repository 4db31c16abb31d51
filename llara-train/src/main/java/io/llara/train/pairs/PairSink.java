package io.llara.train.pairs;

import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.ProgressListener;
import io.llara.io.StrictJson;
import java.io.IOException;
import java.io.Writer;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/** Writes pairs, and counts them and what is left out. Not thread-safe. */
final class PairSink {
  private final Writer writer;
  private final ProgressListener listener;
  private final Map<String, Long> leftOut = new LinkedHashMap<>();
  private long pairs;
  private long positives;
  private long negatives;
  private long total = -1;

  PairSink(Writer writer, ProgressListener listener) {
    this.writer = writer;
    this.listener = listener;
  }

  /** Says how many queries there are. */
  void total(long queries) {
    total = queries;
  }

  /**
   * Takes a pair. Blank passages are left out, and those that are there already; so is a query that
   * is blank or keeps no positive.
   */
  void add(String query, List<String> positive, List<String> negative) throws IOException {
    if (Thread.currentThread().isInterrupted()) {
      throw new LlaraException("making pairs was interrupted; nothing was written");
    }
    if (query.isBlank()) {
      leftOut("queries without text");
      return;
    }
    Set<String> seen = new LinkedHashSet<>();
    List<String> pos = fresh(positive, seen);
    if (pos.isEmpty()) {
      leftOut("queries without a positive passage");
      return;
    }
    List<String> neg = fresh(negative, seen);
    JsonObject json = new JsonObject();
    json.addProperty("query", query);
    json.add("pos", StrictJson.tree(pos));
    json.add("neg", StrictJson.tree(neg));
    writer.write(StrictJson.compact(json) + "\n");
    pairs++;
    positives += pos.size();
    negatives += neg.size();
    listener.progress(pairs, total);
  }

  private List<String> fresh(List<String> passages, Set<String> seen) {
    return passages.stream()
        .filter(
            passage -> {
              if (passage.isBlank()) {
                leftOut("passages without text");
                return false;
              }
              if (!seen.add(passage)) {
                leftOut("passages that the query has already");
                return false;
              }
              return true;
            })
        .toList();
  }

  void leftOut(String what) {
    leftOut.merge(what, 1L, Long::sum);
  }

  PairReport report() {
    return new PairReport(pairs, positives, negatives, leftOut);
  }

  /** Returns what was left out, as the end of a sentence. */
  String because() {
    return leftOut.isEmpty()
        ? ""
        : leftOut.entrySet().stream()
            .map(entry -> entry.getKey() + ": " + entry.getValue())
            .collect(Collectors.joining(", ", "; left out were ", ""));
  }
}
