package io.llara.examples;

import io.llara.BlankTexts;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.io.AtomicFiles;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Texts in, embeddings out. */
@Command(
    name = "encode",
    description = {
      "Encodes texts, one per line (UTF-8), and writes their embeddings in the same order.",
      "",
      "Texts that do not fit are truncated, and blank ones skipped; how many is reported on standard"
          + " error.",
      ""
    })
final class EncodeCommand extends Subcommand {
  @Mixin private EncoderOptions options = new EncoderOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "The model: a Hugging Face directory, a GGUF file, or owner/name of the hub.")
  private Path model = Path.of("");

  @Option(
      names = "--mode",
      required = true,
      paramLabel = "self|next",
      description = "self for passages, next for queries.")
  private Mode mode = Mode.SELF;

  @Option(
      names = "--format",
      paramLabel = "json|npy",
      defaultValue = "json",
      description = "json: one array per line; npy: one NumPy array of float32 (default: json).")
  private Format format = Format.JSON;

  @Option(
      names = "--blank",
      paramLabel = "skip|zero|refuse",
      defaultValue = "skip",
      description =
          "What to do with blank lines: leave them out, write a vector of zeros, or refuse the file"
              + " (default: ${DEFAULT-VALUE}).")
  private BlankTexts blank = BlankTexts.SKIP;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      description = "Where to write (default: standard output).")
  private @Nullable Path out;

  @Parameters(paramLabel = "FILE|-", description = "The texts; - for standard input.")
  private String file = "-";

  /** How embeddings are written. */
  enum Format {
    JSON,
    NPY
  }

  /** Ends the work when the reader of the results has gone away. */
  private static final class ReaderGone extends RuntimeException {
    private static final long serialVersionUID = 1L;
  }

  @Override
  public Integer call() {
    model = directory(model);
    if (out != null) {
      new Outputs()
          .reads("FILE", file.equals("-") ? List.of() : List.of(Path.of(file)))
          .reads("--model", List.of(model))
          .reads("--adapter", options.adapter().stream().toList())
          .writes("--out", out);
    }
    try (TextLines lines = TextLines.open(file, streams().in(), blank)) {
      if (out == null) {
        encode(lines, streams().out());
      } else {
        AtomicFiles.write(out, channel -> encode(lines, Channels.newOutputStream(channel)));
      }
    } catch (ReaderGone e) {
      // As much as was wanted.
    }
    return Llara.OK;
  }

  private void encode(TextLines lines, OutputStream target) {
    try (ProgressOptions.Bar bar = progress.start(streams(), "encoding", lines.count());
        Encoder encoder = options.encoder(model).progress(bar).build();
        Results results = new Results(target);
        Stream<String> texts = lines.texts()) {
      if (format == Format.NPY) {
        long rows = blank == BlankTexts.SKIP ? lines.count() - lines.blank() : lines.count();
        results.bytes(Npy.header(rows, encoder.dimension()));
      }
      try {
        encoder.encodeAll(
            texts, mode, blank, (index, text, embedding) -> write(embedding, results));
      } catch (LlaraException | IllegalArgumentException e) {
        throw new LlaraException(lines.name() + ": " + e.getMessage(), e);
      }
      if (lines.blank() > 0) {
        streams()
            .note(
                "%s: %d of %d lines are blank and %s"
                    .formatted(
                        lines.name(),
                        lines.blank(),
                        lines.count(),
                        blank == BlankTexts.SKIP ? "were skipped" : "got vectors of zeros"));
      }
      EncoderOptions.noteCuts(streams(), encoder);
    }
  }

  private void write(float[] embedding, Results results) {
    if (format == Format.NPY) {
      results.bytes(Npy.row(embedding));
    } else {
      results.line(json(embedding));
    }
    if (results.readerGone()) {
      throw new ReaderGone();
    }
  }

  private static String json(float[] embedding) {
    StringBuilder json = new StringBuilder(embedding.length * 12).append('[');
    for (int i = 0; i < embedding.length; i++) {
      json.append(i == 0 ? "" : ",").append(embedding[i]);
    }
    return json.append(']').toString();
  }
}
