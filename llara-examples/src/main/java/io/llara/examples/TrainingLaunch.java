package io.llara.examples;

import io.llara.LlaraException;
import io.llara.train.Trainer;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.distributed.ProcessLauncher;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.run.RunBuilder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Starts training of any kind, in one process or several, shows it, and stops it on a signal. */
final class TrainingLaunch {
  /** The exit code of a process ended by SIGTERM, and of a run stopped in another way. */
  private static final int STOPPED = 128 + 15;

  /** Longer than a process needs to give up waiting by itself. */
  private static final Duration GRACE = CleanStop.PATIENCE.plusSeconds(30);

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--nproc",
      paramLabel = "N",
      description = "Start N processes on this machine, which train together (default: 1).")
  private Optional<Integer> processes = Optional.empty();

  @Mixin private ProgressOptions progress = new ProgressOptions();

  /** Collects the settings of a run. */
  @FunctionalInterface
  interface Setup {
    RunBuilder<?> builder(Optional<WorldSettings> world, TrainingListener listener);
  }

  /**
   * Trains.
   *
   * @param out the directory of the run
   * @return the exit code
   */
  int run(Streams streams, Path out, Setup setup) {
    Optional<WorldSettings> world = WorldSettings.from(System.getenv());
    if (processes.isPresent()) {
      int count = processes.get();
      if (count < 1) {
        throw Subcommand.usageError(command, "--nproc is %d; expected at least 1".formatted(count));
      }
      if (world.isPresent() && world.get().worldSize() != count) {
        throw Subcommand.usageError(
            command,
            "--nproc is %d, but the environment variable WORLD_SIZE is %d"
                .formatted(count, world.get().worldSize()));
      }
      if (world.isEmpty() && count > 1) {
        return launch(streams, count, setup);
      }
    }
    return train(streams, out, setup, world);
  }

  private static int launch(Streams streams, int count, Setup setup) {
    // Wrong settings are reported once, not by each process.
    WorldSettings first = new WorldSettings(0, count, 0, "localhost", 1);
    setup.builder(Optional.of(first), TrainingListener.NONE).build();
    try {
      return ProcessLauncher.run(
          ProcessLauncher.thisCommand(), count, GRACE, streams.err()::println);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return STOPPED;
    }
  }

  private int train(Streams streams, Path out, Setup setup, Optional<WorldSettings> world) {
    boolean first = world.map(WorldSettings::rank).orElse(0) == 0;
    TrainingResult result;
    try (TrainingProgress shown = new TrainingProgress(streams, progress.shown(streams))) {
      Trainer trainer = setup.builder(world, first ? shown : TrainingListener.NONE).build();
      try (CleanStop stop = new CleanStop(streams, trainer::stop)) {
        result = trainer.run();
        shown.close();
        if (first) {
          report(streams, out, result, shown);
        }
        stop.done();
      }
    }
    return result.outcome() == TrainingResult.Outcome.STOPPED ? STOPPED : Llara.OK;
  }

  private static void report(
      Streams streams, Path out, TrainingResult result, TrainingProgress shown) {
    switch (result.outcome()) {
      case COMPLETED -> {
        drawLosses(streams, out);
        streams.result(
            "%s: %d steps%s%s".formatted(out, result.step(), shown.reached(), best(result)));
      }
      case STOPPED ->
          streams.note(
              "stopped after step %d; the same command resumes from there"
                  .formatted(result.step()));
      case ALREADY_COMPLETE -> {
        // A run that was stopped while its losses were drawn has none.
        if (!Files.exists(out.resolve("loss.png"))) {
          drawLosses(streams, out);
        }
        streams.result(
            "%s: was already complete after %d steps; nothing was done%s"
                .formatted(out, result.step(), best(result)));
      }
    }
  }

  /** Says which model is the best, and which one lies where. */
  private static String best(TrainingResult result) {
    return result
        .best()
        .map(
            best ->
                String.format(
                    Locale.ROOT,
                    "; best nDCG@10 %.4f after step %d: %s (%s has the model of the last step)",
                    best.ndcg(),
                    best.step(),
                    best.model(),
                    result.model()))
        .orElse("");
  }

  private static void drawLosses(Streams streams, Path out) {
    try {
      LossChart.write(
          out.resolve("metrics.jsonl"), out.resolve("evaluation.jsonl"), out.resolve("loss.png"));
    } catch (LlaraException e) {
      streams.note("warning: the losses were not drawn: " + e.getMessage());
    }
  }
}
