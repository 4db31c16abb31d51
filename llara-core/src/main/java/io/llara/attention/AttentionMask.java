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
 * <p>Queries and keys are rows of the batch. At first both are all rows, {@code [rows]}; {@link
 * #restrictTo} keeps some query rows only, numbered anew from 0, while the keys stay all rows. That
 * is the last layer of a model, where only pooled rows are wanted.
 *
 * <p>A query row that no span covers is padding: it may see nothing, and what a kernel leaves there
 * means nothing.
 */
public final class AttentionMask {
  private final ImmutableList<Span> spans;

  /** First key row of each sequence, padding included, and the number of key rows. */
  private final int[] starts;

  private final TokenRange[] real;
  private final TokenRange[] pooledSelf;
  private final TokenRange[] pooledNext;
  private final int[] keyIds;
  private final int[] keyPositions;

  /** The key row of each query row, ascending; the numbers 0, 1, 2… when nothing is left out. */
  private final int[] queryRows;

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

    /** Returns how many of the concatenated keys a query row sees: so many from their beginning. */
    public int visibleKeys(int queryRow) {
      if (queryRow < queryBegin || queryRow >= queryEnd) {
        throw new IllegalArgumentException(
            "row " + queryRow + " is not in [" + queryBegin + ", " + queryEnd + ")");
      }
      return causal ? keyCount() - (queryEnd - 1 - queryRow) : keyCount();
    }

    private static int count(List<KeyRange> keys) {
      int count = 0;
      for (KeyRange range : keys) {
        count += range.length();
      }
      return count;
    }
  }

  /** Takes over the arrays; query rows are all rows. */
  AttentionMask(
      ImmutableList<Span> spans,
      int[] starts,
      TokenRange[] real,
      TokenRange[] pooledSelf,
      TokenRange[] pooledNext,
      int[] keyIds,
      int[] keyPositions) {
    this(spans, starts, real, pooledSelf, pooledNext, keyIds, keyPositions, all(keyIds.length));
  }

  private AttentionMask(
      ImmutableList<Span> spans,
      int[] starts,
      TokenRange[] real,
      TokenRange[] pooledSelf,
      TokenRange[] pooledNext,
      int[] keyIds,
      int[] keyPositions,
      int[] queryRows) {
    this.spans = spans;
    this.starts = starts;
    this.real = real;
    this.pooledSelf = pooledSelf;
    this.pooledNext = pooledNext;
    this.keyIds = keyIds;
    this.keyPositions = keyPositions;
    this.queryRows = queryRows;
  }

  private static int[] all(int rows) {
    int[] numbers = new int[rows];
    Arrays.setAll(numbers, row -> row);
    return numbers;
  }

  /** Returns the spans, by ascending query rows; no query row is in two of them. */
  public List<Span> spans() {
    return spans;
  }

  /** Returns the number of query rows. */
  public int queryRows() {
    return queryRows.length;
  }

  /** Returns the number of key rows: all rows of the batch, padding included. */
  public int keyRows() {
    return keyIds.length;
  }

  /** Returns the number of prompts. */
  public int sequences() {
    return starts.length - 1;
  }

  /** Returns the key row where the part of prompt {@code sequence} begins, padding included. */
  public int sequenceBegin(int sequence) {
    return starts[check(sequence)];
  }

  /** Returns the key row where the part of prompt {@code sequence} ends, padding included. */
  public int sequenceEnd(int sequence) {
    return starts[check(sequence) + 1];
  }

  /** Returns the key rows of the tokens of prompt {@code sequence}, padding left out. */
  public TokenRange tokens(int sequence) {
    return real[check(sequence)];
  }

  /**
   * Returns the query rows pooled for {@code mode} in prompt {@code sequence}, in this mask's
   * numbering; empty if that prompt has not this mode, shorter if {@link #restrictTo} left some
   * out.
   */
  public TokenRange pooled(int sequence, Mode mode) {
    TokenRange range = (mode == Mode.SELF ? pooledSelf : pooledNext)[check(sequence)];
    return new TokenRange(firstQueryFrom(range.begin()), firstQueryFrom(range.end()));
  }

  /** Returns all query rows pooled for any mode in any prompt, ascending: for restrictTo. */
  public int[] pooledRows() {
    boolean[] pooled = new boolean[queryRows.length];
    for (int sequence = 0; sequence < sequences(); sequence++) {
      for (Mode mode : Mode.values()) {
        TokenRange range = pooled(sequence, mode);
        Arrays.fill(pooled, range.begin(), range.end(), true);
      }
    }
    int count = 0;
    int[] rows = new int[pooled.length];
    for (int row = 0; row < pooled.length; row++) {
      if (pooled[row]) {
        rows[count++] = row;
      }
    }
    return Arrays.copyOf(rows, count);
  }

  /** Returns the token id of each query row {@code [queryRows]}, the pad id where it is padding. */
  public int[] rowIds() {
    return gather(keyIds);
  }

  /** Returns the position of each query row {@code [queryRows]}, for the rotary embedding. */
  public int[] positions() {
    return gather(keyPositions);
  }

  /** Returns the position of each key row {@code [keyRows]}, for the rotary embedding. */
  public int[] keyPositions() {
    return keyPositions.clone();
  }

  /** Returns the key row that each query row is {@code [queryRows]}, ascending. */
  public int[] queryRowsAsKeys() {
    return queryRows.clone();
  }

  /**
   * Returns the mask for some of the query rows, numbered anew 0, 1, 2…; the keys stay the same.
   *
   * <p>Rows that follow one another within a span become one span, its keys cut after those that
   * its last row sees.
   *
   * @param sortedRows query rows of this mask, strictly ascending
   * @throws IllegalArgumentException if the rows do not ascend or are not rows of this mask
   */
  public AttentionMask restrictTo(int[] sortedRows) {
    int[] kept = new int[sortedRows.length];
    for (int i = 0; i < kept.length; i++) {
      int row = sortedRows[i];
      if (row < 0 || row >= queryRows.length || (i > 0 && row <= sortedRows[i - 1])) {
        throw new IllegalArgumentException(
            "rows must ascend within [0, "
                + queryRows.length
                + "), but number "
                + i
                + " is "
                + row
                + (i > 0 ? " after " + sortedRows[i - 1] : ""));
      }
      kept[i] = queryRows[row];
    }
    ImmutableList.Builder<Span> restricted = ImmutableList.builder();
    int i = 0;
    for (Span span : spans) {
      while (i < kept.length && sortedRows[i] < span.queryBegin) {
        i++;
      }
      while (i < kept.length && sortedRows[i] < span.queryEnd) {
        int run = i + 1;
        // Without causality all rows see the same keys, so gaps do not matter.
        while (run < kept.length
            && sortedRows[run] < span.queryEnd
            && (!span.causal || sortedRows[run] == sortedRows[run - 1] + 1)) {
          run++;
        }
        int visible = span.visibleKeys(sortedRows[run - 1]);
        restricted.add(new Span(i, run, first(span.keys, visible), span.causal));
        i = run;
      }
    }
    return new AttentionMask(
        restricted.build(), starts, real, pooledSelf, pooledNext, keyIds, keyPositions, kept);
  }

  /**
   * Returns the visibility of one prompt as a matrix {@code [its query rows][its key rows]},
   * padding included: true where the query may attend to the key.
   */
  public boolean[][] dense(int sequence) {
    int begin = firstQueryFrom(sequenceBegin(sequence));
    int end = firstQueryFrom(sequenceEnd(sequence));
    return dense(begin, end, sequenceBegin(sequence), sequenceEnd(sequence));
  }

  /**
   * Returns the visibility of the whole batch as one matrix {@code [queryRows][keyRows]}. It grows
   * with the square of the batch: for small ones, and for packed kernels that want one matrix.
   */
  public boolean[][] dense() {
    return dense(0, queryRows.length, 0, keyIds.length);
  }

  /**
   * Returns {@link #dense(int)} in additive form: 0 where the query may attend to the key, negative
   * infinity elsewhere. A softmax over a row of padding, which sees nothing, is not a number.
   */
  public float[][] additive(int sequence) {
    return additive(dense(sequence));
  }

  /** Returns {@link #dense()} in additive form, as {@link #additive(int)}. */
  public float[][] additive() {
    return additive(dense());
  }

  /**
   * Returns {@link #dense(int)} as one string a query row, {@code 1} where the query may attend to
   * the key of that column and {@code 0} elsewhere.
   */
  public String[] visibility(int sequence) {
    boolean[][] dense = dense(sequence);
    String[] lines = new String[dense.length];
    for (int row = 0; row < dense.length; row++) {
      char[] line = new char[dense[row].length];
      for (int column = 0; column < line.length; column++) {
        line[column] = dense[row][column] ? '1' : '0';
      }
      lines[row] = new String(line);
    }
    return lines;
  }

  @Override
  public String toString() {
    return "AttentionMask["
        + sequences()
        + " sequences, "
        + queryRows()
        + " query rows, "
        + keyRows()
        + " key rows, "
        + spans.size()
        + " spans]";
  }

  private boolean[][] dense(int queryBegin, int queryEnd, int keyBegin, int keyEnd) {
    boolean[][] matrix = new boolean[queryEnd - queryBegin][keyEnd - keyBegin];
    for (Span span : spans) {
      int begin = Math.max(queryBegin, span.queryBegin);
      int end = Math.min(queryEnd, span.queryEnd);
      for (int row = begin; row < end; row++) {
        for (KeyRange range : first(span.keys, span.visibleKeys(row))) {
          Arrays.fill(matrix[row - queryBegin], range.begin - keyBegin, range.end - keyBegin, true);
        }
      }
    }
    return matrix;
  }

  private static float[][] additive(boolean[][] dense) {
    float[][] matrix = new float[dense.length][];
    for (int row = 0; row < dense.length; row++) {
      float[] line = new float[dense[row].length];
      for (int column = 0; column < line.length; column++) {
        line[column] = dense[row][column] ? 0 : Float.NEGATIVE_INFINITY;
      }
      matrix[row] = line;
    }
    return matrix;
  }

  /** The first {@code count} of the concatenated keys. */
  private static List<KeyRange> first(List<KeyRange> keys, int count) {
    ImmutableList.Builder<KeyRange> cut = ImmutableList.builder();
    int left = count;
    for (KeyRange range : keys) {
      if (left <= 0) {
        break;
      }
      int length = Math.min(left, range.length());
      cut.add(new KeyRange(range.begin, range.begin + length));
      left -= length;
    }
    return cut.build();
  }

  /** The first query row that is key row {@code keyRow} or behind it. */
  private int firstQueryFrom(int keyRow) {
    int found = Arrays.binarySearch(queryRows, keyRow);
    return found >= 0 ? found : -found - 1;
  }

  private int[] gather(int[] perKey) {
    int[] gathered = new int[queryRows.length];
    for (int i = 0; i < gathered.length; i++) {
      gathered[i] = perKey[queryRows[i]];
    }
    return gathered;
  }

  private int check(int sequence) {
    if (sequence < 0 || sequence >= sequences()) {
      throw new IllegalArgumentException(
          "there are " + sequences() + " sequences, none is number " + sequence);
    }
    return sequence;
  }
}
