package io.llara.examples;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

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
  private final Streams streams;

  @Mixin private PretrainOptions options = new PretrainOptions();

  @Mixin private TrainingLaunch launch = new TrainingLaunch();

  PretrainCommand(Streams streams) {
    this.streams = streams;
  }

  @Override
  public Integer call() {
    return launch.run(streams, options.out(), options::builder);
  }
}
