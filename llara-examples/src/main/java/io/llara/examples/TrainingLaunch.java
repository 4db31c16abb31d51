package io.llara.examples;

import io.llara.LlaraException;
import io.llara.train.Trainer;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.distributed.ProcessLauncher;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.run.RunBuilder;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * How training is started, in one process or several, watched, ended by a signal, and told of at
 * the end: the same for every kind.
 */
final class TrainingLaunch {
  /** What a process ended by SIGTERM gives; so does a run that was stopped in another way. */
  private static final int STOPPED = 128 + 15;

  /** Longer than a process needs to see that its own patience is at an end. */
  private static final Duration GRACE = CleanStop.PATIENCE.plusSeconds(30);

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--nproc",
      paramLabel = "N",
      description = "Start N processes on this machine that train together (default: 1).")
  private @Nullable Integer processes;

  @Mixin private ProgressOptions progress = new ProgressOptions();

  /** Puts the settings of a run together. */
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
    if (processes != null) {
      if (processes < 1) {
        throw refusal("--nproc is %d; expected at least 1".formatted(processes));
      }
      if (world.isPresent() && world.get().worldSize() != processes) {
        throw refusal(
            "--nproc is %d, but the environment variable WORLD_SIZE is %d"
                .formatted(processes, world.get().worldSize()));
      }
      if (world.isEmpty() && processes > 1) {
        return launch(streams, processes, setup);
      }
    }
    return train(streams, out, setup, world);
  }

  private ParameterException refusal(String message) {
    return new ParameterException(command.commandLine(), message);
  }

  private static int launch(Streams streams, int count, Setup setup) {
    // Wrong settings are told once, not by each process.
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
          tell(streams, out, result, shown);
        }
        stop.done();
      }
    }
    return result.outcome() == TrainingResult.Outcome.STOPPED ? STOPPED : Llara.OK;
  }

  private static void tell(
      Streams streams, Path out, TrainingResult result, TrainingProgress shown) {
    try (Results results = new Results(streams.out())) {
      switch (result.outcome()) {
        case COMPLETED -> {
          drawLosses(streams, out);
          results.line("%s: %d steps%s".formatted(out, result.step(), shown.reached()));
        }
        case STOPPED ->
            streams.note(
                "stopped after step %d; the same command goes on from there"
                    .formatted(result.step()));
        case ALREADY_COMPLETE ->
            results.line(
                "%s: finished before, after %d steps; nothing was done"
                    .formatted(out, result.step()));
      }
    }
  }

  private static void drawLosses(Streams streams, Path out) {
    try {
      LossChart.write(
          out.resolve("metrics.jsonl"), out.resolve("evaluation.jsonl"), out.resolve("loss.png"));
    } catch (LlaraException e) {
      streams.note("warning: the losses are not drawn: " + e.getMessage());
    }
  }
}
