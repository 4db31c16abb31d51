package io.llara.cuda;

import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.Tensors;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Spans of one kind as kernels for sequences of different lengths want them: the queries of all
 * spans one after the other, and so the keys; which rows those are, and where each span begins. A
 * causal span's last query sees all its keys (bottom-right).
 *
 * <p>Rows that already lie so are not gathered: those of prompts of one mode never are. A joint
 * prompt's keys are those of its text twice, once for each suffix.
 */
final class PackedSequences {
  private final boolean causal;
  private final int[] queryEnds;
  private final int[] keyEnds;
  private final @Nullable Tensor queryRows;
  private final @Nullable Tensor keyRows;
  private final Tensor queryOffsets;
  private final Tensor keyOffsets;

  /**
   * Prepares spans; the result belongs to the caller's innermost scope.
   *
   * @param spans by ascending query rows, all causal or none
   */
  PackedSequences(List<Span> spans, Device device) {
    this.causal = spans.get(0).causal();
    this.queryEnds = new int[spans.size()];
    this.keyEnds = new int[spans.size()];
    List<KeyRange> queries = new ArrayList<>();
    List<KeyRange> keys = new ArrayList<>();
    int queryCount = 0;
    int keyCount = 0;
    for (int i = 0; i < spans.size(); i++) {
      Span span = spans.get(i);
      queries.add(new KeyRange(span.queryBegin(), span.queryEnd()));
      keys.addAll(span.keys());
      queryEnds[i] = queryCount += span.queryCount();
      keyEnds[i] = keyCount += span.keyCount();
    }
    this.queryRows = rows(queries, device);
    this.keyRows = rows(keys, device);
    this.queryOffsets = offsets(queryEnds, device);
    this.keyOffsets = offsets(keyEnds, device);
  }

  /** Returns the rows of ranges; null if they are the first ones in their order. */
  private static @Nullable Tensor rows(List<KeyRange> ranges, Device device) {
    int end = 0;
    for (KeyRange range : ranges) {
      if (range.begin() != end) {
        int[] all =
            ranges.stream().flatMapToInt(r -> IntStream.range(r.begin(), r.end())).toArray();
        return Tensors.ofInts(all).to(device, ScalarType.Long);
      }
      end = range.end();
    }
    return null;
  }

  /** Zero and the ends, int32, {@code [sequences + 1]}. */
  private static Tensor offsets(int[] ends, Device device) {
    int[] offsets = new int[ends.length + 1];
    System.arraycopy(ends, 0, offsets, 1, ends.length);
    return Tensors.ofInts(offsets).to(ScalarType.Int).to(device, ScalarType.Int);
  }

  /** Returns whether earlier queries of a sequence see fewer keys. */
  boolean causal() {
    return causal;
  }

  /** Returns where the queries of each sequence end among all. */
  int[] queryEnds() {
    return queryEnds;
  }

  /** Returns where the keys of each sequence end among all. */
  int[] keyEnds() {
    return keyEnds;
  }

  /** Returns where the queries of each sequence begin, and where the last end, int32. */
  Tensor queryOffsets() {
    return queryOffsets;
  }

  /** Returns where the keys of each sequence begin, and where the last end, int32. */
  Tensor keyOffsets() {
    return keyOffsets;
  }

  long mostQueries() {
    return longest(queryEnds);
  }

  long mostKeys() {
    return longest(keyEnds);
  }

  private static long longest(int[] ends) {
    int longest = 0;
    for (int i = 0; i < ends.length; i++) {
      longest = Math.max(longest, ends[i] - (i == 0 ? 0 : ends[i - 1]));
    }
    return longest;
  }

  /** Returns the queries in order, given those of all rows. */
  Tensor queries(Tensor all) {
    return select(all, queryRows, queryEnds[queryEnds.length - 1]);
  }

  /** Returns keys or values in order, given those of all rows. */
  Tensor keys(Tensor all) {
    return select(all, keyRows, keyEnds[keyEnds.length - 1]);
  }

  private static Tensor select(Tensor all, @Nullable Tensor rows, long count) {
    if (rows != null) {
      return Tensors.rows(all, rows);
    }
    return all.size(0) == count ? all : all.narrow(0, 0, count);
  }

  /** Returns whether {@link #queries} are all rows as they are. */
  boolean isWhole(Tensor all) {
    return queryRows == null && all.size(0) == queryEnds[queryEnds.length - 1];
  }

  /** Puts results of queries into their rows. */
  void put(Tensor results, Tensor rows) {
    if (queryRows == null) {
      rows.narrow(0, 0, results.size(0)).copy_(results);
    } else {
      rows.index_copy_(0, queryRows, results);
    }
  }
}
