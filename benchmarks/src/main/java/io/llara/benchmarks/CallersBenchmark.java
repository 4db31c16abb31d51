package io.llara.benchmarks;

import io.llara.Encoder;
import io.llara.EncoderBuilder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Group;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Threads;
import org.openjdk.jmh.annotations.Warmup;

/**
 * An encoder as its callers meet it, tokenizer and queue included: threads that each encode one
 * query after another, and one that does while another thread encodes a corpus.
 *
 * <p>The mode {@code SampleTime} has the percentiles of the time that a caller waits. How many
 * callers compare with one {@code encodeAll} is measured by {@link CallersThroughput}: JMH's
 * threads do not pause for it.
 */
@BenchmarkMode({Mode.Throughput, Mode.SampleTime})
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 1, time = 3)
@Measurement(iterations = 3, time = 5)
public class CallersBenchmark {
  static final int QUERIES = 64;
  static final int QUERY_WORDS = 10;
  private static final int PASSAGES = 64;
  private static final int PASSAGE_WORDS = 100;
  private static final List<String> WORDS =
      List.of(
          "the",
          "llama",
          "of",
          "a",
          "mountain",
          "river",
          "carries",
          "and",
          "wool",
          "in",
          "to",
          "heavy",
          "is",
          "old",
          "for",
          "market",
          "between",
          "flow",
          "pressure",
          "wing",
          "early");

  /** An encoder and what it is given. */
  @State(Scope.Benchmark)
  public static class Texts {
    /** A model directory; the default encoder if empty. */
    @Param("")
    public String model;

    /** The compute type; {@link Benchmarks} leaves out what the processor has to emulate. */
    @Param({"float32", "bfloat16"})
    public String type;

    private final List<String> queries = texts(QUERIES, QUERY_WORDS);
    private final List<String> passages = texts(PASSAGES, PASSAGE_WORDS);
    private final AtomicInteger next = new AtomicInteger();
    private Encoder encoder;

    static List<String> texts(int count, int words) {
      SplittableRandom random = new SplittableRandom(words);
      List<String> texts = new ArrayList<>(count);
      for (int i = 0; i < count; i++) {
        StringBuilder text = new StringBuilder();
        for (int word = 0; word < words; word++) {
          text.append(WORDS.get(random.nextInt(WORDS.size()))).append(' ');
        }
        texts.add(text.append(i).toString());
      }
      return texts;
    }

    /** Opens the model. */
    @Setup
    public void open() {
      EncoderBuilder builder =
          model.isEmpty() ? Encoder.builder() : Encoder.builder(Path.of(model));
      encoder = builder.computeType(Types.parse(type)).build();
      System.out.printf("%n%s%n", Machine.describe());
    }

    float[] encodeOne() {
      return encoder.encodeQuery(queries.get(Math.floorMod(next.getAndIncrement(), QUERIES)));
    }

    /** Frees the model. */
    @TearDown
    public void close() {
      encoder.close();
    }
  }

  /** One caller. */
  @Benchmark
  @Threads(1)
  public Object callers1(Texts texts) {
    return texts.encodeOne();
  }

  /** Eight callers. */
  @Benchmark
  @Threads(8)
  public Object callers8(Texts texts) {
    return texts.encodeOne();
  }

  /** Sixty-four callers. */
  @Benchmark
  @Threads(64)
  public Object callers64(Texts texts) {
    return texts.encodeOne();
  }

  /** A caller while {@link #corpus} runs. */
  @Benchmark
  @Group("mixed")
  public Object query(Texts texts) {
    return texts.encodeOne();
  }

  /** A corpus encoded without a pause, 64 passages of about 110 tokens in a call. */
  @Benchmark
  @Group("mixed")
  public Object corpus(Texts texts) {
    return texts.encoder.encodeAll(texts.passages, io.llara.Mode.SELF);
  }
}
