package io.llara.examples;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** Queries with their passages and an embedding model in, a better one out. */
@Command(
    name = "finetune",
    customSynopsis = "llara finetune --model DIR --pairs FILE... --out DIR [OPTION...]",
    sortOptions = false,
    description = {
      "Fine-tunes an embedding model on queries and their passages, with hard negatives.",
      "",
      "The same command again goes on from the newest whole checkpoint in --out; so end it with"
          + " Ctrl-C at any time. Processes that torchrun or the like starts, with RANK,"
          + " WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT set, train together and share"
          + " their negatives.",
      ""
    })
final class FinetuneCommand implements Callable<Integer> {
  private final Streams streams;

  @Mixin private FinetuneOptions options = new FinetuneOptions();

  @Mixin private TrainingLaunch launch = new TrainingLaunch();

  FinetuneCommand(Streams streams) {
    this.streams = streams;
  }

  @Override
  public Integer call() {
    return launch.run(streams, options.out(), options::builder);
  }
}
