package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LlaraTest {

  @ParameterizedTest
  @ValueSource(
      strings = {
        "encode",
        "search",
        "serve",
        "verify",
        "import",
        "init",
        "add-markers",
        "collect",
        "pretrain",
        "teach",
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
            "teach",
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
    assertRefused(CommandRun.of("teach"), "--texts");
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

  @Test
  void helpThatCannotBePrintedIsAnError() {
    OutputStream full =
        new OutputStream() {
          @Override
          public void write(int b) throws IOException {
            throw new IOException("No space left on device");
          }
        };
    for (String[] args : new String[][] {{"--help"}, {"encode", "--help"}, {"--version"}}) {
      ByteArrayOutputStream err = new ByteArrayOutputStream();
      Streams streams =
          new Streams(
              InputStream.nullInputStream(),
              full,
              new PrintStream(err, true, StandardCharsets.UTF_8),
              false);
      assertThat(Llara.run(streams, args)).isEqualTo(2);
      assertThat(err.toString(StandardCharsets.UTF_8))
          .isEqualTo("llara: the output cannot be written: No space left on device\n");
    }
  }

  @Test
  void messagesHaveNoClassNames() {
    assertRefused(
        CommandRun.of("encode", "--model=a\0b", "--mode=self", "-"),
        "is not the name of a file: Nul");
    InputStream closed =
        new InputStream() {
          @Override
          public int read() throws IOException {
            throw new IOException("Bad file descriptor");
          }
        };
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Streams streams =
        new Streams(
            closed,
            OutputStream.nullOutputStream(),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            false);
    assertThat(Llara.run(streams, "encode", "--model=m", "--mode=self", "-")).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .isEqualTo("llara encode: standard input: cannot be read: it is closed\n");
  }

  static void assertRefused(CommandRun run, String message) {
    assertThat(run.code()).isEqualTo(2);
    assertThat(run.bytes()).isEmpty();
    assertThat(run.err().lines()).hasSize(1);
    assertThat(run.err()).contains(message);
  }
}
