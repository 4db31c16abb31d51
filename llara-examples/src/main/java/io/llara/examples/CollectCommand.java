package io.llara.examples;

import io.llara.tokenize.Tokenizer;
import io.llara.train.data.PassageSplitter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Folders of text files in, a collection out. */
@Command(
    name = "collect",
    sortOptions = false,
    description = {
      "Makes a collection of the text files in folders: JSON lines with _id, title and text, for"
          + " pretrain --data, search --corpus and mine --corpus.",
      "",
      "Takes files whose names end in .txt, .md or .markdown, at any depth, in UTF-8. The id is the"
          + " path below the folder; the title is the Markdown heading at the start of the file, or"
          + " else the file's name. Line breaks within a paragraph become spaces; blank lines separate"
          + " paragraphs. Hidden files and folders are skipped.",
      "",
      "pretrain takes whole documents, which it splits itself; for search, split them into"
          + " passages with --model and --passage-tokens.",
      ""
    })
final class CollectCommand extends Subcommand {
  private static final int DEFAULT_PASSAGE_TOKENS = 128;

  @Parameters(arity = "1..*", paramLabel = "FOLDER", description = "A folder of text files.")
  private List<Path> folders = new ArrayList<>();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "The file to write; gzipped if its name ends in .gz.")
  private Path out = Path.of("");

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description =
          "Split documents into passages of whole sentences, measured by the tokenizer of this"
              + " model.")
  private Optional<Path> model = Optional.empty();

  @Option(
      names = "--passage-tokens",
      paramLabel = "N",
      description =
          "The maximum number of tokens in a passage (default: " + DEFAULT_PASSAGE_TOKENS + ").")
  private Optional<Integer> passageTokens = Optional.empty();

  @Option(
      names = "--skip-bad-files",
      description =
          "Skip files that are not UTF-8 text or are larger than 32 MiB; by default the first one"
              + " is an error.")
  private boolean skipBadFiles;

  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Override
  public Integer call() {
    if (model.isEmpty() && passageTokens.isPresent()) {
      throw usageError("--passage-tokens needs --model, whose tokenizer measures them");
    }
    model = model.map(this::directory);
    int tokens = passageTokens.orElse(DEFAULT_PASSAGE_TOKENS);
    if (tokens < PassageSplitter.MIN_TOKENS) {
      throw usageError(
          "--passage-tokens is %d; expected at least %d"
              .formatted(tokens, PassageSplitter.MIN_TOKENS));
    }
    new Outputs()
        .reads("--model", model.stream().toList())
        // Any other file in the folders is left alone.
        .reads("FOLDER", TextFolder.isText(out) ? folders : List.of())
        .writes("--out", out);
    TextFolder.Report report;
    try (CleanStop stop = new CleanStop(streams(), Thread.currentThread()::interrupt)) {
      report = model.isEmpty() ? collect(Optional.empty()) : collect(model.get(), tokens);
      stop.done();
    }
    TextFolder.files(report.blankFiles(), "without text").ifPresent(streams()::note);
    TextFolder.files(report.badFiles(), "that could not be used").ifPresent(streams()::note);
    TextFolder.files(report.otherFiles(), "with other extensions skipped")
        .ifPresent(streams()::note);
    String documents = "%s: %d documents".formatted(out, report.documents());
    streams()
        .result(
            model.isEmpty()
                ? documents
                : documents + " in %d passages".formatted(report.passages()));
    return Llara.OK;
  }

  private TextFolder.Report collect(Path directory, int tokens) {
    try (Tokenizer tokenizer = Tokenizer.load(directory)) {
      return collect(Optional.of(new PassageSplitter(tokenizer, tokens)));
    }
  }

  private TextFolder.Report collect(Optional<PassageSplitter> splitter) {
    try (ProgressOptions.Bar bar = progress.start(streams(), "collecting", -1)) {
      return new TextFolder(folders, skipBadFiles, splitter, bar).write(out);
    }
  }
}
