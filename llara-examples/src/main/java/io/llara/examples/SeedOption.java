package io.llara.examples;

import io.llara.train.run.RunBuilder;
import picocli.CommandLine.Option;

/** The seed of a command's random numbers. */
final class SeedOption {
  @Option(
      names = "--seed",
      paramLabel = "N",
      description =
          "Seed of all random numbers: the same seed gives the same result (default:"
              + " ${DEFAULT-VALUE}).")
  private long seed = RunBuilder.DEFAULT_SEED;

  long value() {
    return seed;
  }
}
