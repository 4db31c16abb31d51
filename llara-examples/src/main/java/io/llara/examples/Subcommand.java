package io.llara.examples;

import static java.util.Objects.requireNonNull;

import io.llara.ModelSource;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;

/**
 * A command of the launcher, which returns its exit code; and what its options are checked with.
 */
abstract class Subcommand implements Callable<Integer> {
  @ParentCommand private @Nullable Llara llara;
  @Spec private CommandSpec command = CommandSpec.create();

  final Streams streams() {
    return requireNonNull(llara).streams();
  }

  /**
   * Returns the directory of a model, or its GGUF file; one of the hub is downloaded, unless the
   * cache has it.
   */
  final Path directory(Path model) {
    try (ProgressOptions.Bar bar = new ProgressOptions().start(streams(), "downloading", -1)) {
      return ModelSource.of(model).resolve(bar);
    }
  }

  final CommandSpec command() {
    return command;
  }

  final ParameterException usageError(String message) {
    return usageError(command, message);
  }

  /** Returns an error of options that do not go together, or of a value that is out of range. */
  static ParameterException usageError(CommandSpec command, String message) {
    return new ParameterException(command.commandLine(), message);
  }

  /** Returns those of some options that are on the command line. */
  static List<String> given(CommandSpec command, String... options) {
    return Stream.of(options)
        .filter(command.commandLine().getParseResult()::hasMatchedOption)
        .toList();
  }

  /** Refuses options of which at most one may be given. */
  static void requireOneAtMost(CommandSpec command, String... options) {
    List<String> given = given(command, options);
    if (given.size() > 1) {
      throw usageError(command, "%s exclude each other".formatted(String.join(" and ", given)));
    }
  }

  /** Reads ranks such as {@code 10-200}: the first, and the first that is not among them. */
  static int[] ranks(CommandSpec command, String option, String value) {
    if (!value.matches("\\d{1,9}-\\d{1,9}")) {
      throw usageError(
          command, "%s is %s; expected two ranks as in 10-200".formatted(option, value));
    }
    return Stream.of(value.split("-")).mapToInt(Integer::parseInt).toArray();
  }
}
