package io.llara.examples;

import io.llara.ProgressListener;
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

  /** A bar that appears with the first progress, or never. */
  static final class Bar implements ProgressListener, AutoCloseable {
    private final @Nullable ProgressBarBuilder builder;
    private @Nullable ProgressBar bar;

    private Bar(@Nullable ProgressBarBuilder builder) {
      this.builder = builder;
    }

    @Override
    public void progress(long done, long total) {
      if (builder != null) {
        if (bar == null) {
          bar = builder.build();
        }
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
    }
  }

  /** Returns whether to show a bar. */
  boolean shown(Streams streams) {
    return wanted.orElse(streams.terminal());
  }

  /** Prepares a bar for {@code total} steps; -1 if its first progress gives the total. */
  Bar start(Streams streams, String task, long total) {
    return new Bar(
        shown(streams)
            ? new ProgressBarBuilder()
                .setTaskName(task)
                .setInitialMax(total)
                .setStyle(ProgressBarStyle.ASCII)
                .showSpeed()
                .setConsumer(new ConsoleProgressBarConsumer(streams.err(), WIDTH))
            : null);
  }
}
