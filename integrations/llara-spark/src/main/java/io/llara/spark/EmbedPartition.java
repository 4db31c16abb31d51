package io.llara.spark;

import io.llara.BlankTexts;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.TokenizationException;
import io.llara.prompt.Prompt;
import io.llara.spark.TextEmbedder.InputType;
import java.io.Serializable;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.util.TaskCompletionListener;
import org.jspecify.annotations.Nullable;

/**
 * What a task does: puts a vector behind each row of its partition. Rows are taken until their
 * prompts have a number of tokens, and encoded in one call. What is in a call depends on the
 * partition alone, so that it has the same vectors, to the last bit, whichever executor computes it
 * beside whatever else.
 */
final class EmbedPartition implements MapPartitionsFunction<Row, Row> {
  private static final long serialVersionUID = 1L;

  /** Rows without a text have no tokens. */
  private static final int MOST_ROWS = 8192;

  private final EncoderSettings encoder;
  private final Texts texts;
  private final Counters.Set counters;

  /**
   * Which texts, and how they are embedded.
   *
   * @param column the index of their column
   * @param batchTokens how many tokens are encoded in one call
   */
  record Texts(int column, InputType type, BlankTexts blank, int batchTokens)
      implements Serializable {}

  EmbedPartition(EncoderSettings encoder, Texts texts, Counters.Set counters) {
    this.encoder = encoder;
    this.texts = texts;
    this.counters = counters;
  }

  @Override
  public Iterator<Row> call(Iterator<Row> rows) {
    if (!rows.hasNext()) {
      return rows;
    }
    ExecutorEncoders.Lease lease = ExecutorEncoders.acquire(encoder);
    // A task may end before its last row is asked for.
    TaskCompletionListener release = context -> lease.close();
    TaskContext.get().addTaskCompletionListener(release);
    return new Embedded(rows, lease.encoder());
  }

  private final class Embedded implements Iterator<Row> {
    private final Iterator<Row> rows;
    private final Encoder encoder;
    private final Mode mode;
    private final Deque<Row> ready = new ArrayDeque<>();
    private long read;

    Embedded(Iterator<Row> rows, Encoder encoder) {
      boolean query = texts.type() == InputType.QUERY;
      this.rows = rows;
      this.encoder = query ? encoder.forQueries() : encoder.forPassages();
      this.mode = query ? encoder.modes().query() : encoder.modes().passage();
    }

    @Override
    public boolean hasNext() {
      if (ready.isEmpty() && rows.hasNext()) {
        embedSome();
      }
      return !ready.isEmpty();
    }

    @Override
    public Row next() {
      if (!hasNext()) {
        throw new NoSuchElementException();
      }
      return ready.remove();
    }

    private void embedSome() {
      List<Row> batch = new ArrayList<>();
      List<@Nullable Prompt> promptOfRow = new ArrayList<>();
      List<Prompt> prompts = new ArrayList<>();
      long tokens = 0;
      int truncated = 0;
      while (rows.hasNext() && tokens < texts.batchTokens() && batch.size() < MOST_ROWS) {
        Row row = rows.next();
        batch.add(row);
        Prompt prompt = prompt(row.isNullAt(texts.column()) ? null : row.getString(texts.column()));
        promptOfRow.add(prompt);
        if (prompt != null) {
          prompts.add(prompt);
          tokens += prompt.length();
          truncated += prompt.truncatedTokens() > 0 ? 1 : 0;
        }
        read++;
      }
      Iterator<float[]> vectors =
          prompts.isEmpty()
              ? List.<float[]>of().iterator()
              : encoder.encodePrompts(prompts, mode).iterator();
      counters.add(prompts.size(), tokens, truncated);
      for (int i = 0; i < batch.size(); i++) {
        Row row = batch.get(i);
        ready.add(
            promptOfRow.get(i) == null ? with(row, withoutText(row)) : with(row, vectors.next()));
      }
    }

    /** Returns null for a text that is not encoded. */
    private @Nullable Prompt prompt(@Nullable String text) {
      if (text == null) {
        return null;
      }
      if (text.isBlank()) {
        if (texts.blank() == BlankTexts.REFUSE) {
          throw new IllegalArgumentException(
              name()
                  + " is blank; leave such rows out, or set what becomes of them with"
                  + " setBlankTexts");
        }
        return null;
      }
      try {
        return encoder.prompts().build(text, mode, encoder.maxTokens());
      } catch (TokenizationException e) {
        throw new TokenizationException(name() + ": " + e.getMessage(), e);
      } catch (LlaraException e) {
        throw new LlaraException(name() + ": " + e.getMessage(), e);
      }
    }

    private String name() {
      return "text %d of partition %d".formatted(read, TaskContext.getPartitionId());
    }

    private float @Nullable [] withoutText(Row row) {
      boolean zero = !row.isNullAt(texts.column()) && texts.blank() == BlankTexts.ZERO;
      return zero ? new float[encoder.dimension()] : null;
    }
  }

  private static Row with(Row row, float @Nullable [] vector) {
    @Nullable Object[] values = new Object[row.length() + 1];
    for (int i = 0; i < row.length(); i++) {
      values[i] = row.get(i);
    }
    values[row.length()] = vector;
    return RowFactory.create(values);
  }
}
