package io.llara.examples;

import io.llara.tokenize.Tokenizer;
import io.llara.train.data.BadLines;
import io.llara.train.data.TextFolder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Folders of text files in, a collection out. */
@Command(
    name = "collect",
    sortOptions = false,
    description = {
      "Makes a collection of the text files in folders: JSON lines with _id, title and text, for"
          + " pretrain --data, search --corpus and mine --corpus.",
      "",
      "Takes files that end in .txt, .md or .markdown, at any depth, in UTF-8. The id is the path"
          + " below the folder; the title is the Markdown heading that a file begins with, else the"
          + " file's name. Line breaks within a paragraph become spaces; blank lines separate"
          + " paragraphs. Hidden files and folders are passed over.",
      "",
      "Whole documents are for pretrain, which cuts them itself; passages, with --model and"
          + " --passage-tokens, are for searching.",
      ""
    })
final class CollectCommand implements Callable<Integer> {
  private static final int DEFAULT_PASSAGE_TOKENS = 128;

  private final Streams streams;

  @Spec private CommandSpec command = CommandSpec.create();

  @Parameters(arity = "1..*", paramLabel = "FOLDER", description = "Where the texts are.")
  private List<Path> folders = new ArrayList<>();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "The file to make; gzipped if its name ends in .gz.")
  private Path out = Path.of("");

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description =
          "Cut documents into passages of whole sentences, measured by the tokenizer of this"
              + " model.")
  private @Nullable Path model;

  @Option(
      names = "--passage-tokens",
      paramLabel = "N",
      description = "The most tokens in a passage (default: " + DEFAULT_PASSAGE_TOKENS + ").")
  private @Nullable Integer passageTokens;

  @Option(
      names = "--skip-bad-files",
      description =
          "Leave out files that are no UTF-8 text or too large; by default the first one is an"
              + " error.")
  private boolean skipBadFiles;

  @Mixin private ProgressOptions progress = new ProgressOptions();

  CollectCommand(Streams streams) {
    this.streams = streams;
  }

  @Override
  public Integer call() {
    if (model == null && passageTokens != null) {
      throw new ParameterException(
          command.commandLine(), "--passage-tokens needs --model, whose tokenizer measures them");
    }
    TextFolder.Builder builder =
        TextFolder.builder(folders).badFiles(skipBadFiles ? BadLines.SKIP : BadLines.REFUSE);
    TextFolder.Report report;
    try (CleanStop stop = new CleanStop(streams, Thread.currentThread()::interrupt)) {
      report = model == null ? write(builder) : write(builder, model);
      stop.done();
    }
    note(report.blankFiles(), "without text");
    note(report.badFiles(), "that could not be used");
    note(report.otherFiles(), "with other endings passed over");
    try (Results results = new Results(streams.out())) {
      String documents = String.format(Locale.ROOT, "%s: %d documents", out, report.documents());
      results.line(
          model == null ? documents : documents + " in " + report.passages() + " passages");
    }
    return Llara.OK;
  }

  private TextFolder.Report write(TextFolder.Builder builder, Path directory) {
    int most = passageTokens == null ? DEFAULT_PASSAGE_TOKENS : passageTokens;
    try (Tokenizer tokenizer = Tokenizer.load(directory)) {
      return write(builder.passages(tokenizer, most));
    }
  }

  private TextFolder.Report write(TextFolder.Builder builder) {
    try (ProgressOptions.Bar bar = progress.start(streams, "collecting", -1)) {
      return builder.progress(bar).build().write(out);
    }
  }

  private void note(long files, String what) {
    if (files > 0) {
      streams.note(
          String.format(Locale.ROOT, "%d %s %s", files, files == 1 ? "file" : "files", what));
    }
  }
}
