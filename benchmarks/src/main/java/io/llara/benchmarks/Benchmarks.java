package io.llara.benchmarks;

import io.llara.tensor.Libtorch;
import java.io.IOException;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.runner.options.OptionsBuilder;

/** Runs JMH with its own options; types that are not named are those of this processor. */
public final class Benchmarks {
  private Benchmarks() {}

  /** Runs the benchmarks whose names match. */
  public static void main(String[] args)
      throws CommandLineOptionException, IOException, RunnerException {
    Libtorch.load();
    CommandLineOptions given = new CommandLineOptions(args);
    if (given.shouldHelp()) {
      given.showHelp();
      return;
    }
    ChainedOptionsBuilder options = new OptionsBuilder().parent(given);
    if (!given.getParameter("type").hasValue()) {
      options.param(
          "type", Types.multipliedNatively().stream().map(Types::name).toArray(String[]::new));
    }
    Runner runner = new Runner(options.build());
    if (given.shouldList()) {
      runner.list();
    } else {
      runner.run();
    }
  }
}
