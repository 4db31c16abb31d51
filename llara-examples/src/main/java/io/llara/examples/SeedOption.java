package io.llara.examples;

import io.llara.train.run.RunBuilder;
import picocli.CommandLine.Option;

/** What a command's random numbers come from. */
final class SeedOption {
  @Option(
      names = "--seed",
      paramLabel = "N",
      description =
          "What all random numbers come from: the same seed gives the same result (default:"
              + " ${DEFAULT-VALUE}).")
  private long seed = RunBuilder.DEFAULT_SEED;

  long value() {
    return seed;
  }
}
