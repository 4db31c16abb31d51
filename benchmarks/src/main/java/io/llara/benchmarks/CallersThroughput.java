package io.llara.benchmarks;

import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Mode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * How much of an encoder's throughput is left when many threads encode one query each: {@code
 * encodeAll} of 64 queries and 64 threads take turns, so that what else the machine does meets
 * both.
 *
 * <p>Arguments: the compute type, the seconds of a turn, the number of turns; maybe a model
 * directory.
 */
public final class CallersThroughput {
  private static final int CALLERS = 64;

  private CallersThroughput() {}

  /** Measures and prints. */
  public static void main(String[] args) throws Exception {
    long turn = (long) (Double.parseDouble(args[1]) * 1e9);
    int turns = Integer.parseInt(args[2]);
    List<String> queries =
        CallersBenchmark.Texts.texts(CallersBenchmark.QUERIES, CallersBenchmark.QUERY_WORDS);
    EncoderBuilder builder =
        args.length > 3 ? Encoder.builder(Path.of(args[3])) : Encoder.builder();
    ExecutorService callers = Executors.newFixedThreadPool(CALLERS);
    try (Encoder encoder = builder.computeType(Types.parse(args[0])).build()) {
      System.out.printf(
          Locale.ROOT,
          "%s; %s; queries of %.1f tokens%n",
          Machine.describe(),
          args[0],
          queries.stream()
              .mapToInt(query -> encoder.countTokens(query, Mode.NEXT))
              .average()
              .orElseThrow());
      List<Double> ratios = new ArrayList<>();
      for (int i = 0; i <= turns; i++) {
        double together = together(encoder, queries, turn);
        List<Long> waits = new ArrayList<>();
        double apart = apart(encoder, queries, turn, callers, waits);
        if (i > 0) { // The first turn warms up.
          ratios.add(apart / together);
          waits.sort(Long::compare);
          System.out.printf(
              Locale.ROOT,
              "encodeAll %.1f texts/s, %d callers %.1f texts/s, ratio %.3f, p50 %.1f ms, p99 %.1f ms%n",
              together,
              CALLERS,
              apart,
              apart / together,
              waits.get(waits.size() / 2) / 1e6,
              waits.get(waits.size() * 99 / 100) / 1e6);
        }
      }
      System.out.println("ratio, median (lowest–highest): " + Stopwatch.Spread.of(ratios));
    } finally {
      callers.shutdown();
    }
  }

  /** Returns how many texts a second are encoded, 64 in a call. */
  private static double together(Encoder encoder, List<String> queries, long turn) {
    long begin = System.nanoTime();
    long done = 0;
    while (System.nanoTime() - begin < turn) {
      encoder.encodeAll(queries, Mode.NEXT);
      done += queries.size();
    }
    return done / ((System.nanoTime() - begin) / 1e9);
  }

  /**
   * Returns how many texts a second are encoded, one in a call.
   *
   * @param waits gets how long each call took, in nanoseconds
   */
  private static double apart(
      Encoder encoder, List<String> queries, long turn, ExecutorService callers, List<Long> waits)
      throws Exception {
    long begin = System.nanoTime();
    List<Callable<List<Long>>> tasks = new ArrayList<>();
    for (int caller = 0; caller < CALLERS; caller++) {
      String query = queries.get(caller % queries.size());
      tasks.add(
          () -> {
            List<Long> mine = new ArrayList<>();
            while (System.nanoTime() - begin < turn) {
              long from = System.nanoTime();
              encoder.encode(query, Mode.NEXT);
              mine.add(System.nanoTime() - from);
            }
            return mine;
          });
    }
    for (Future<List<Long>> task : callers.invokeAll(tasks)) {
      waits.addAll(task.get());
    }
    return waits.size() / ((System.nanoTime() - begin) / 1e9);
  }
}
