package io.llara.examples;

import io.llara.ProgressListener;
import io.llara.retrieval.SearchListener;
import java.util.Optional;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Whether and how a command shows its progress. */
final class ProgressOptions {
  /** Narrow enough for any terminal: its real width would take native code to find out. */
  static final int WIDTH = 79;

  @Option(
      names = "--progress",
      negatable = true,
      description = "Show a progress bar (default: if standard error is a terminal).")
  private Optional<Boolean> wanted = Optional.empty();

  /** Bars, one after another, each shown from its first progress on; or none. */
  static final class Bar implements ProgressListener, SearchListener, AutoCloseable {
    private final Streams streams;
    private final boolean shown;
    private @Nullable ProgressBarBuilder next;
    private @Nullable ProgressBar bar;

    private Bar(Streams streams, boolean shown) {
      this.streams = streams;
      this.shown = shown;
    }

    /**
     * Ends the bar and prepares one for another task; total is -1 if the first progress gives it.
     */
    void start(String task, long total) {
      close();
      next =
          shown
              ? new ProgressBarBuilder()
                  .setTaskName(task)
                  .setInitialMax(total)
                  .setStyle(ProgressBarStyle.ASCII)
                  .showSpeed()
                  .setConsumer(new ConsoleProgressBarConsumer(streams.err(), WIDTH))
              : null;
    }

    @Override
    public void encoding(String what, long texts) {
      start("encoding " + what, texts);
    }

    @Override
    public void note(String message) {
      streams.note(message);
    }

    @Override
    public void progress(long done, long total) {
      if (bar == null && next != null) {
        bar = next.build();
      }
      if (bar != null) {
        if (total >= 0 && bar.isIndefinite()) {
          bar.maxHint(total);
        }
        bar.stepTo(done);
      }
    }

    @Override
    public void close() {
      if (bar != null) {
        bar.close();
      }
      bar = null;
      next = null;
    }
  }

  /** Returns whether to show a bar. */
  boolean shown(Streams streams) {
    return wanted.orElse(streams.terminal());
  }

  /** Returns bars, of which none is started. */
  Bar bar(Streams streams) {
    return new Bar(streams, shown(streams));
  }

  /** Prepares a bar for {@code total} steps; -1 if its first progress gives the total. */
  Bar start(Streams streams, String task, long total) {
    Bar bar = bar(streams);
    bar.start(task, total);
    return bar;
  }
}
