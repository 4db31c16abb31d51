package io.llara.examples;

import io.llara.LlaraException;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.distributed.ProcessLauncher;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.pretrain.Pretrainer;
import io.llara.train.report.LossCurves;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Unlabelled text and a model in, an embedding model out. */
@Command(
    name = "pretrain",
    customSynopsis = "llara pretrain --model DIR --data FILE... --out DIR [OPTION...]",
    sortOptions = false,
    description = {
      "Adapts a model to embedding text, on unlabelled text.",
      "",
      "The same command again goes on from the newest whole checkpoint in --out; so end it with"
          + " Ctrl-C at any time. Processes that torchrun or the like starts, with RANK,"
          + " WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT set, train together.",
      ""
    })
final class PretrainCommand implements Callable<Integer> {
  /** What a process ended by SIGTERM gives; so does a run that was stopped in another way. */
  private static final int STOPPED = 128 + 15;

  /** Longer than a process needs to see that its own patience is at an end. */
  private static final Duration GRACE = CleanStop.PATIENCE.plusSeconds(30);

  private final Streams streams;

  @Mixin private PretrainOptions options = new PretrainOptions();

  @Option(
      names = "--nproc",
      paramLabel = "N",
      description = "Start N processes on this machine that train together (default: 1).")
  private @Nullable Integer processes;

  @Mixin private ProgressOptions progress = new ProgressOptions();

  PretrainCommand(Streams streams) {
    this.streams = streams;
  }

  @Override
  public Integer call() {
    Optional<WorldSettings> world = WorldSettings.from(System.getenv());
    if (processes != null) {
      if (processes < 1) {
        throw options.refusal("--nproc is %d; expected at least 1".formatted(processes));
      }
      if (world.isPresent() && world.get().worldSize() != processes) {
        throw options.refusal(
            "--nproc is %d, but the environment variable WORLD_SIZE is %d"
                .formatted(processes, world.get().worldSize()));
      }
      if (world.isEmpty() && processes > 1) {
        return launch(processes);
      }
    }
    return train(world);
  }

  private int launch(int count) {
    // Wrong settings are told once, not by each process.
    WorldSettings first = new WorldSettings(0, count, 0, "localhost", 1);
    options.builder(Optional.of(first), TrainingListener.NONE).build();
    try {
      return ProcessLauncher.run(
          ProcessLauncher.thisCommand(), count, GRACE, streams.err()::println);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return STOPPED;
    }
  }

  private int train(Optional<WorldSettings> world) {
    boolean first = world.map(WorldSettings::rank).orElse(0) == 0;
    TrainingResult result;
    try (TrainingProgress shown = new TrainingProgress(streams, progress.shown(streams))) {
      Pretrainer pretrainer = options.builder(world, first ? shown : TrainingListener.NONE).build();
      try (CleanStop stop = new CleanStop(streams, pretrainer::stop)) {
        result = pretrainer.run();
        shown.close();
        if (first) {
          tell(result, shown);
        }
        stop.done();
      }
    }
    return result.outcome() == TrainingResult.Outcome.STOPPED ? STOPPED : Llara.OK;
  }

  private void tell(TrainingResult result, TrainingProgress shown) {
    try (Results results = new Results(streams.out())) {
      switch (result.outcome()) {
        case COMPLETED -> {
          drawLosses();
          results.line("%s: %d steps%s".formatted(options.out(), result.step(), shown.reached()));
        }
        case STOPPED ->
            streams.note(
                "stopped after step %d; the same command goes on from there"
                    .formatted(result.step()));
        case ALREADY_COMPLETE ->
            results.line(
                "%s: finished before, after %d steps; nothing was done"
                    .formatted(options.out(), result.step()));
      }
    }
  }

  private void drawLosses() {
    Path out = options.out();
    // Drawing into a file needs no screen, and must not fail for a wrong DISPLAY.
    System.setProperty("java.awt.headless", "true");
    try {
      LossCurves.write(
          out.resolve("metrics.jsonl"),
          Optional.of(out.resolve("evaluation.jsonl")),
          out.resolve("loss.png"));
    } catch (LlaraException e) {
      streams.note("warning: the losses are not drawn: " + e.getMessage());
    }
  }
}
