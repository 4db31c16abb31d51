package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LlaraTest {

  @ParameterizedTest
  @ValueSource(
      strings = {
        "encode",
        "search",
        "verify",
        "import",
        "init",
        "add-markers",
        "collect",
        "pretrain",
        "finetune",
        "mine",
        "evaluate",
        "doctor"
      })
  void everyCommandHasHelp(String command) {
    CommandRun run = CommandRun.of(command, "--help");
    assertThat(run.code()).isZero();
    assertThat(run.out()).startsWith("Usage: llara " + command).contains("Exit codes:");
    assertThat(run.err()).isEmpty();
  }

  @Test
  void helpNamesAllCommands() {
    CommandRun run = CommandRun.of("--help");
    assertThat(run.code()).isZero();
    assertThat(run.out())
        .contains(
            "encode",
            "search",
            "verify",
            "import",
            "init",
            "add-markers",
            "collect",
            "pretrain",
            "finetune",
            "mine",
            "evaluate",
            "doctor");
    assertThat(CommandRun.of("--version").out()).startsWith("llara ");
  }

  @Test
  void refusesWhatItDoesNotKnowInOneLine() {
    assertRefused(CommandRun.of(), "a command is missing");
    assertRefused(CommandRun.of("fly"), "unknown command or option fly");
    assertRefused(CommandRun.of("--wings"), "unknown command or option --wings");
    assertRefused(CommandRun.of("doctor", "--wings"), "--wings");
    assertRefused(CommandRun.of("encode"), "--model");
    assertRefused(CommandRun.of("search"), "QUERY");
    assertRefused(CommandRun.of("verify"), "DIR");
    assertRefused(CommandRun.of("import"), "FILE.gguf");
    assertRefused(CommandRun.of("init"), "--config");
    assertRefused(CommandRun.of("add-markers"), "--model");
    assertRefused(CommandRun.of("collect"), "FOLDER");
    assertRefused(CommandRun.of("pretrain"), "--data");
    assertRefused(CommandRun.of("finetune"), "--pairs");
    assertRefused(CommandRun.of("mine"), "--pairs");
    assertRefused(CommandRun.of("evaluate"), "--beir");
  }

  @Test
  void refusesBadInputInOneLineUnlessAStackTraceIsWanted() {
    String[] args = {"encode", "--model", "no-such-model", "--mode", "self", "-"};
    assertRefused(CommandRun.of(args), "no-such-model");
    CommandRun before =
        CommandRun.of("--stacktrace", "encode", "--model", "no-such-model", "--mode", "self", "-");
    CommandRun after =
        CommandRun.of("encode", "--stacktrace", "--model", "no-such-model", "--mode", "self", "-");
    for (CommandRun run : new CommandRun[] {before, after}) {
      assertThat(run.code()).isEqualTo(2);
      assertThat(run.err()).contains("no-such-model").contains("\tat io.llara.");
    }
  }

  static void assertRefused(CommandRun run, String message) {
    assertThat(run.code()).isEqualTo(2);
    assertThat(run.bytes()).isEmpty();
    assertThat(run.err().lines()).hasSize(1);
    assertThat(run.err()).contains(message);
  }
}
