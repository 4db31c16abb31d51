package io.llara.benchmarks;

import io.llara.benchmarks.Stopwatch.Spread;
import io.llara.benchmarks.TrainingSides.Work;
import io.llara.tensor.Libtorch;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Measures forward and backward of training against the {@linkplain TrainingCeiling speed of its
 * bare matrix products}, with stages recorded and with stages run again, all in turn within one
 * process, and prints Markdown tables. The second forward pass is not part of the ceiling. For the
 * shape see {@link TrainingSides}.
 *
 * <pre>{@code
 * TrainingThroughput [--rounds N] [--seconds S] [--lanes N] type/<batch>x<length> …
 * }</pre>
 *
 * <p>Ratios are made within a round, so that a machine that is slower for a while slows all sides;
 * what is printed is their median, and the lowest and highest.
 */
public final class TrainingThroughput {
  private final Measuring measuring;
  private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  private TrainingThroughput(Measuring measuring) {
    this.measuring = measuring;
  }

  private static Work parse(String text) {
    String[] parts = text.split("/", -1);
    if (parts.length != 2) {
      throw new IllegalArgumentException(
          "work is \"" + text + "\"; expected <type>/<batch>x<length>, such as float32/16x128");
    }
    return Work.parse(parts[0], parts[1]);
  }

  /** Runs what is named, or float32 at 128 and at 512 tokens. */
  public static void main(String[] args) throws IOException {
    Measuring measuring;
    List<Work> works = new ArrayList<>();
    try {
      measuring = Measuring.parse(args, 2);
      measuring.works().forEach(work -> works.add(parse(work)));
    } catch (IllegalArgumentException e) {
      System.err.println("TrainingThroughput: " + e.getMessage());
      System.err.println(
          "usage: TrainingThroughput [--rounds N] [--seconds S] [--lanes N]"
              + " <type>/<batch>x<length> …");
      System.exit(2);
      return;
    }
    Libtorch.load();
    if (works.isEmpty()) {
      works.addAll(List.of(parse("float32/16x128"), parse("float32/4x512")));
    }
    new TrainingThroughput(measuring).run(works);
  }

  private void run(List<Work> works) throws IOException {
    out.println(Machine.describe());
    out.println(measuring);
    out.println();
    out.println(
        "| type | batch × length | ceiling tokens/s | recorded tokens/s | ratio (min–max)"
            + " | recomputed tokens/s | ratio (min–max) | ceiling's way |");
    out.println("|---|---|---:|---:|---|---:|---|---|");
    for (Work work : works) {
      run(work);
    }
  }

  private void run(Work work) throws IOException {
    try (TrainingSides sides = new TrainingSides(work, measuring.lanes())) {
      TrainingStep step = sides.step();
      TrainingCeiling ceiling = sides.ceiling();
      List<Double> bare = new ArrayList<>();
      List<Double> recorded = new ArrayList<>();
      List<Double> recordedRatios = new ArrayList<>();
      List<Double> again = new ArrayList<>();
      List<Double> againRatios = new ArrayList<>();
      for (int round = 1; round <= measuring.rounds(); round++) {
        double least = Stopwatch.mean(measuring.seconds(), ceiling::run);
        double once = seconds(step, false);
        double twice = seconds(step, true);
        bare.add(step.tokens() / least);
        recorded.add(step.tokens() / once);
        recordedRatios.add(least / once);
        again.add(step.tokens() / twice);
        againRatios.add(least / twice);
        System.err.printf(
            Locale.ROOT,
            "%s: round %d of %d, ratios %.3f, %.3f%n",
            work,
            round,
            measuring.rounds(),
            least / once,
            least / twice);
      }
      out.printf(
          Locale.ROOT,
          "| %s | %d × %d | %.0f | %.0f | %s | %.0f | %s | %s |%n",
          Types.name(work.type()),
          work.sequences(),
          work.length(),
          Spread.of(bare).median(),
          Spread.of(recorded).median(),
          Spread.of(recordedRatios),
          Spread.of(again).median(),
          Spread.of(againRatios),
          ceiling.describeWay());
    }
  }

  private double seconds(TrainingStep step, boolean recompute) {
    return Stopwatch.mean(measuring.seconds(), () -> Stopwatch.seconds(() -> step.run(recompute)));
  }
}
