package io.llara.examples;

import io.llara.train.RetrievalReport;
import io.llara.train.RunInfo;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressState;
import org.jspecify.annotations.Nullable;

/**
 * Shows the progress of training: a bar with the loss terms, tokens per second and the time left,
 * or, where no bar is wanted, a line now and then. Held-out losses are lines in any case.
 */
final class TrainingProgress implements TrainingListener, AutoCloseable {
  /** How far apart lines are where there is no bar. */
  private static final Duration LINES_APART = Duration.ofSeconds(30);

  /** How much of the speed shown stays from one step to the next. */
  private static final double MEMORY = 0.9;

  private static final int NARROWEST_BAR = 5;

  private final Streams streams;
  private final boolean barWanted;
  private final long lines;
  private @Nullable ProgressBar bar;
  private @Nullable StepReport last;
  private Map<String, Double> heldOut = Map.of();
  private long begin;
  private long lastLine;
  private long firstStep;
  private double tokens;
  private double seconds;

  TrainingProgress(Streams streams, boolean barWanted) {
    this(streams, barWanted, LINES_APART);
  }

  TrainingProgress(Streams streams, boolean barWanted, Duration linesApart) {
    this.streams = streams;
    this.barWanted = barWanted;
    this.lines = linesApart.toNanos();
  }

  @Override
  public void started(RunInfo run) {
    begin = System.nanoTime();
    firstStep = run.firstStep();
    say(
        String.format(
            Locale.ROOT,
            "%s; %.2f million trainable parameters; %d %s%s",
            position(run),
            run.trainedParameters() / 1e6,
            run.lanes(),
            run.lanes() == 1 ? "thread" : "threads",
            run.ranks() > 1 ? " in each of %d processes".formatted(run.ranks()) : ""));
    if (barWanted) {
      bar =
          new ProgressBarBuilder()
              .setInitialMax(run.totalSteps())
              .startsFrom(run.firstStep() - 1, Duration.ZERO)
              .setRenderer(TrainingProgress::render)
              .setConsumer(new ConsoleProgressBarConsumer(streams.err(), ProgressOptions.WIDTH))
              .build();
    }
  }

  private static String position(RunInfo run) {
    if (run.firstStep() > run.totalSteps()) {
      return "all %d steps are already done".formatted(run.totalSteps());
    }
    return run.firstStep() == 1
        ? "%d steps".formatted(run.totalSteps())
        : "resuming at step %d of %d".formatted(run.firstStep(), run.totalSteps());
  }

  @Override
  public void step(StepReport step) {
    tokens = MEMORY * tokens + step.tokens();
    seconds = MEMORY * seconds + step.seconds();
    last = step;
    if (bar != null) {
      bar.setExtraMessage(brief(step));
      bar.stepTo(step.step());
      return;
    }
    long now = System.nanoTime();
    if (step.step() == firstStep || step.step() == step.totalSteps() || now - lastLine >= lines) {
      lastLine = now;
      say(
          "step %d/%d: %s; %s tokens/s, %s left"
              .formatted(
                  step.step(), step.totalSteps(), terms(step.terms()), speed(), timeLeft(step)));
    }
  }

  @Override
  public void refreshing(long step) {
    say("after step %d: mining new negatives".formatted(step));
  }

  @Override
  public void refreshed(long step, Path pairs) {
    say("continuing with " + pairs);
  }

  @Override
  public void evaluatingRetrieval(long step) {
    say("after step %d: searching test collections".formatted(step));
  }

  @Override
  public void evaluatedRetrieval(RetrievalReport report) {
    String each = report.collections().size() == 1 ? "" : " (" + terms(report.collections()) + ")";
    say(
        String.format(
            Locale.ROOT,
            "after step %d: nDCG@10 %.4f%s%s",
            report.step(),
            report.ndcg(),
            each,
            report.best() ? ", the best so far: kept" : ""));
  }

  @Override
  public void evaluated(long step, Map<String, Double> terms) {
    heldOut = terms;
    say("held out, after step %d: %s".formatted(step, terms(terms)));
  }

  /** Returns the last losses, for the command's result. */
  String reached() {
    return (last == null ? "" : ", " + terms(last.terms()))
        + (heldOut.isEmpty() ? "" : "; held out: " + terms(heldOut));
  }

  /** Prints a line; if there is a bar, in its place, and the bar again below. */
  private void say(String text) {
    String line = "llara: " + text;
    if (bar == null) {
      streams.err().println(line);
    } else {
      streams.err().print("\r" + padded(line, ProgressOptions.WIDTH) + System.lineSeparator());
      bar.refresh();
    }
  }

  private static String terms(Map<String, Double> terms) {
    return terms.entrySet().stream()
        .map(term -> String.format(Locale.ROOT, "%s %.4f", term.getKey(), term.getValue()))
        .collect(Collectors.joining(", "));
  }

  /** What is right of the bar: short names, so that some bar is left in 79 columns. */
  private String brief(StepReport step) {
    List<Map.Entry<String, Double>> others =
        step.terms().entrySet().stream().filter(term -> !term.getKey().equals("loss")).toList();
    // The loss of one term is that term.
    boolean known = others.size() == 1 && others.get(0).getKey().endsWith("_loss");
    String parts =
        others.stream()
            .map(
                term ->
                    "%s %s".formatted(term.getKey().replace("_loss", ""), brief(term.getValue())))
            .collect(Collectors.joining(" "));
    return "%d/%d loss %s%s %s tok/s %s left"
        .formatted(
            step.step(),
            step.totalSteps(),
            brief(step.loss()),
            others.isEmpty() || known ? "" : " " + parts,
            speed(),
            timeLeft(step));
  }

  private static String brief(double value) {
    return String.format(Locale.ROOT, value < 1 ? "%.3f" : value < 10 ? "%.2f" : "%.1f", value);
  }

  private String speed() {
    return String.format(Locale.ROOT, "%.0f", seconds > 0 ? tokens / seconds : 0);
  }

  private String timeLeft(StepReport step) {
    double perStep = (System.nanoTime() - begin) / (double) (step.step() - firstStep + 1);
    Duration left = Duration.ofNanos((long) (perStep * (step.totalSteps() - step.step())));
    return left.toHours() > 0
        ? "%d:%02d:%02d".formatted(left.toHours(), left.toMinutesPart(), left.toSecondsPart())
        : "%d:%02d".formatted(left.toMinutes(), left.toSecondsPart());
  }

  private static String render(ProgressState state, int width) {
    String text = state.getExtraMessage();
    int room = width - text.length() - "[] ".length();
    if (text.isEmpty() || room < NARROWEST_BAR) {
      return padded(text, width);
    }
    int done = (int) Math.round(room * state.getNormalizedProgress());
    return padded("[" + "=".repeat(done) + " ".repeat(room - done) + "] " + text, width);
  }

  private static String padded(String text, int width) {
    return text.length() >= width ? text : text + " ".repeat(width - text.length());
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
