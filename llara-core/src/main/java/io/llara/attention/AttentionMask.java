package io.llara.attention;

import com.google.common.collect.ImmutableList;
import io.llara.Mode;
import io.llara.prompt.TokenRange;
import java.util.Arrays;
import java.util.List;

/**
 * Which rows of a batch may attend to which, as spans; also the rows' token ids and positions. An
 * immutable value made by {@link AttentionMaskFactory}; thread-safe.
 *
 * <p>A row that no span covers is padding: it may see nothing, and what a kernel leaves there means
 * nothing.
 */
public final class AttentionMask {
  private final ImmutableList<Span> spans;
  private final ImmutableList<Sequence> sequences;
  private final int[] ids;
  private final int[] positions;

  /**
   * Consecutive key rows, from {@code begin} to before {@code end}.
   *
   * @param begin the first
   * @param end one past the last, more than {@code begin}
   */
  public record KeyRange(int begin, int end) {
    /** Checks the bounds. */
    public KeyRange {
      if (begin < 0 || end <= begin) {
        throw new IllegalArgumentException(
            "a key range needs 0 <= begin < end, not [" + begin + ", " + end + ")");
      }
    }

    /** Returns the number of keys. */
    public int length() {
      return end - begin;
    }
  }

  /**
   * Consecutive query rows that see the same keys.
   *
   * <p>When {@code causal}, the keys are taken as one row of keys, one range after the other, and
   * aligned with the queries at their ends (bottom-right): the last query sees all of them, the one
   * before it all but the last, and so on.
   *
   * @param queryBegin the first query row
   * @param queryEnd one past the last, more than {@code queryBegin}
   * @param keys the key rows, ascending and disjoint; when causal at least as many as queries
   * @param causal whether earlier queries see fewer keys
   */
  public record Span(int queryBegin, int queryEnd, List<KeyRange> keys, boolean causal) {
    /** Checks the ranges and copies the list. */
    public Span {
      keys = ImmutableList.copyOf(keys);
      if (queryBegin < 0 || queryEnd <= queryBegin || keys.isEmpty()) {
        throw new IllegalArgumentException(
            "a span needs queries and keys, not [" + queryBegin + ", " + queryEnd + ") " + keys);
      }
      for (int i = 1; i < keys.size(); i++) {
        if (keys.get(i).begin < keys.get(i - 1).end) {
          throw new IllegalArgumentException("key ranges must ascend and not overlap: " + keys);
        }
      }
      if (causal && count(keys) < queryEnd - queryBegin) {
        throw new IllegalArgumentException(
            "a causal span of " + (queryEnd - queryBegin) + " queries needs as many keys: " + keys);
      }
    }

    /** Returns the number of query rows. */
    public int queryCount() {
      return queryEnd - queryBegin;
    }

    /** Returns the number of keys that the last query row sees. */
    public int keyCount() {
      return count(keys);
    }

    /** Returns how many of the concatenated keys, counted from the first, a query row sees. */
    public int visibleKeys(int queryRow) {
      if (queryRow < queryBegin || queryRow >= queryEnd) {
        throw new IllegalArgumentException(
            "row " + queryRow + " is not in [" + queryBegin + ", " + queryEnd + ")");
      }
      return causal ? keyCount() - (queryEnd - 1 - queryRow) : keyCount();
    }

    /** Returns the keys that a query row sees. */
    public List<KeyRange> keysOf(int queryRow) {
      ImmutableList.Builder<KeyRange> seen = ImmutableList.builder();
      int left = visibleKeys(queryRow);
      for (KeyRange range : keys) {
        int length = Math.min(left, range.length());
        if (length > 0) {
          seen.add(new KeyRange(range.begin, range.begin + length));
        }
        left -= length;
      }
      return seen.build();
    }

    private static int count(List<KeyRange> keys) {
      int count = 0;
      for (KeyRange range : keys) {
        count += range.length();
      }
      return count;
    }
  }

  /**
   * The rows of one prompt.
   *
   * @param rows all of them, padding included
   * @param tokens without padding
   * @param self those pooled for {@link Mode#SELF}; may be empty
   * @param next those pooled for {@link Mode#NEXT}; may be empty
   */
  record Sequence(TokenRange rows, TokenRange tokens, TokenRange self, TokenRange next) {}

  /** Takes over the arrays, {@code [rows]}. */
  AttentionMask(
      ImmutableList<Span> spans, ImmutableList<Sequence> sequences, int[] ids, int[] positions) {
    this.spans = spans;
    this.sequences = sequences;
    this.ids = ids;
    this.positions = positions;
  }

  /** Returns the spans, by ascending query rows; no query row is in two of them. */
  public List<Span> spans() {
    return spans;
  }

  /**
   * Returns the spans of some of the rows, as queries numbered anew 0, 1, 2…; the keys are still
   * all rows. That is what the last layer of a model needs, where only some rows are wanted.
   *
   * <p>Rows that follow one another within a span become one span, its keys cut after those that
   * its last row sees.
   *
   * @param queryRows strictly ascending
   * @throws IllegalArgumentException if the rows do not ascend or are not rows of this batch
   */
  public List<Span> spans(int[] queryRows) {
    for (int i = 0; i < queryRows.length; i++) {
      if (queryRows[i] < 0
          || queryRows[i] >= rows()
          || (i > 0 && queryRows[i] <= queryRows[i - 1])) {
        throw new IllegalArgumentException(
            "rows must ascend within [0, %d), but number %d is %d%s"
                .formatted(rows(), i, queryRows[i], i > 0 ? " after " + queryRows[i - 1] : ""));
      }
    }
    ImmutableList.Builder<Span> found = ImmutableList.builder();
    int i = 0;
    for (Span span : spans) {
      while (i < queryRows.length && queryRows[i] < span.queryBegin) {
        i++; // Padding.
      }
      while (i < queryRows.length && queryRows[i] < span.queryEnd) {
        int end = i + 1;
        // Without causality all rows see the same keys, so gaps do not matter.
        while (end < queryRows.length
            && queryRows[end] < span.queryEnd
            && (!span.causal || queryRows[end] == queryRows[end - 1] + 1)) {
          end++;
        }
        found.add(new Span(i, end, span.keysOf(queryRows[end - 1]), span.causal));
        i = end;
      }
    }
    return found.build();
  }

  /** Returns this mask without causality: each row sees all keys of its span, later ones too. */
  public AttentionMask bidirectional() {
    ImmutableList<Span> all =
        spans.stream()
            .map(span -> new Span(span.queryBegin, span.queryEnd, span.keys, false))
            .collect(ImmutableList.toImmutableList());
    return new AttentionMask(all, sequences, ids, positions);
  }

  /** Returns the number of rows, padding included. */
  public int rows() {
    return ids.length;
  }

  /** Returns the number of prompts. */
  public int sequences() {
    return sequences.size();
  }

  /** Returns the row where the part of prompt {@code sequence} begins, padding included. */
  public int sequenceBegin(int sequence) {
    return sequence(sequence).rows().begin();
  }

  /** Returns the row where the part of prompt {@code sequence} ends, padding included. */
  public int sequenceEnd(int sequence) {
    return sequence(sequence).rows().end();
  }

  /** Returns the rows of the tokens of prompt {@code sequence}, padding left out. */
  public TokenRange tokens(int sequence) {
    return sequence(sequence).tokens();
  }

  /**
   * Returns the rows pooled for {@code mode} in prompt {@code sequence}; empty if there are none.
   */
  public TokenRange pooled(int sequence, Mode mode) {
    return mode == Mode.SELF ? sequence(sequence).self() : sequence(sequence).next();
  }

  /** Returns the token id of each row {@code [rows]}, the pad id where it is padding. */
  public int[] rowIds() {
    return ids.clone();
  }

  /** Returns the position of each row {@code [rows]}, for the rotary embedding. */
  public int[] positions() {
    return positions.clone();
  }

  /**
   * Returns the visibility within one prompt as a matrix {@code [its rows][its rows]}, padding
   * included: true where the row may attend to the one of that column.
   */
  public boolean[][] dense(int sequence) {
    return dense(sequence(sequence).rows());
  }

  /**
   * Returns the visibility of the whole batch as one matrix {@code [rows][rows]}. It grows with the
   * square of the batch: for small ones, and for packed kernels that want one matrix.
   */
  public boolean[][] dense() {
    return dense(new TokenRange(0, rows()));
  }

  private boolean[][] dense(TokenRange rows) {
    boolean[][] matrix = new boolean[rows.length()][rows.length()];
    for (Span span : spans) {
      int end = Math.min(rows.end(), span.queryEnd);
      for (int row = Math.max(rows.begin(), span.queryBegin); row < end; row++) {
        for (KeyRange keys : span.keysOf(row)) {
          boolean[] line = matrix[row - rows.begin()];
          Arrays.fill(line, keys.begin - rows.begin(), keys.end - rows.begin(), true);
        }
      }
    }
    return matrix;
  }

  /**
   * Returns {@link #dense(int)} in additive form: 0 where the query may attend to the key, negative
   * infinity elsewhere. A softmax over a row of padding, which sees nothing, is NaN.
   */
  public float[][] additive(int sequence) {
    return additive(dense(sequence));
  }

  /** Returns {@link #dense()} in additive form, as {@link #additive(int)}. */
  public float[][] additive() {
    return additive(dense());
  }

  private static float[][] additive(boolean[][] dense) {
    float[][] matrix = new float[dense.length][dense.length];
    for (int row = 0; row < dense.length; row++) {
      for (int column = 0; column < dense.length; column++) {
        matrix[row][column] = dense[row][column] ? 0 : Float.NEGATIVE_INFINITY;
      }
    }
    return matrix;
  }

  /**
   * Returns {@link #dense(int)} as one string a row, {@code 1} where it may attend to the row of
   * that column and {@code 0} elsewhere.
   */
  public String[] visibility(int sequence) {
    boolean[][] dense = dense(sequence);
    String[] lines = new String[dense.length];
    for (int row = 0; row < dense.length; row++) {
      StringBuilder line = new StringBuilder();
      for (boolean visible : dense[row]) {
        line.append(visible ? '1' : '0');
      }
      lines[row] = line.toString();
    }
    return lines;
  }

  @Override
  public String toString() {
    return "AttentionMask[%d sequences, %d rows, %d spans]"
        .formatted(sequences(), rows(), spans.size());
  }

  private Sequence sequence(int number) {
    if (number < 0 || number >= sequences.size()) {
      throw new IllegalArgumentException(
          "there are " + sequences.size() + " sequences, none is number " + number);
    }
    return sequences.get(number);
  }
}
