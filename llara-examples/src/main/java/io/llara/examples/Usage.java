package io.llara.examples;

import java.util.List;
import java.util.stream.Stream;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/** Errors of options that do not go together. */
final class Usage {
  private Usage() {}

  static ParameterException error(CommandSpec command, String message) {
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
      throw error(command, "%s exclude each other".formatted(String.join(" and ", given)));
    }
  }
}
