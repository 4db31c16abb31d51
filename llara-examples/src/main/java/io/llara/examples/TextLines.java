package io.llara.examples;

import io.llara.BlankTexts;
import io.llara.LlaraException;
import io.llara.io.LineReader;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Texts, one a line, checked before any work is done: every line must be UTF-8 and, if blank ones
 * are refused, not blank. What comes from standard input is put aside in a file first, so that
 * neither the check nor the number of lines needs all texts in memory.
 */
final class TextLines implements AutoCloseable {
  private final String name;
  private final Path file;
  private final Optional<TemporaryPath> copy;
  private long count;
  private long blank;

  private TextLines(String name, Path file, Optional<TemporaryPath> copy) {
    this.name = name;
    this.file = file;
    this.copy = copy;
  }

  /**
   * Opens a file, plain or gzipped, or standard input for {@code -}, and checks all of its lines.
   *
   * @throws LlaraException if it cannot be read, or a line is not UTF-8, or blank and refused
   */
  static TextLines open(String argument, InputStream in, BlankTexts policy) {
    TextLines lines = argument.equals("-") ? spool(in) : regular(Path.of(argument));
    try {
      lines.check(policy);
      return lines;
    } catch (RuntimeException e) {
      lines.close();
      throw e;
    }
  }

  private static TextLines regular(Path file) {
    LineReader.requireFile(file, "a file of one text a line");
    if (Files.isRegularFile(file)) {
      return new TextLines(file.toString(), file, Optional.empty());
    }
    // A pipe can be read only once.
    try (InputStream in = Files.newInputStream(file)) {
      return spool(in);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  private static TextLines spool(InputStream in) {
    TemporaryPath copy = TemporaryPath.file("llara-texts");
    try {
      Files.copy(in, copy.path(), StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      copy.close();
      throw new LlaraException("standard input: cannot be read: " + Messages.reason(e), e);
    }
    return new TextLines("standard input", copy.path(), Optional.of(copy));
  }

  private LineReader reader() {
    return new LineReader(name, () -> Files.newInputStream(file));
  }

  private void check(BlankTexts policy) {
    try (LineReader lines = reader()) {
      while (lines.advance()) {
        String line = lines.line();
        if (line.isBlank()) {
          blank++;
          if (policy != BlankTexts.REFUSE) {
            continue;
          }
          throw lines.error("is %s; expected a text".formatted(line.isEmpty() ? "empty" : "blank"));
        }
      }
      count = lines.number();
    }
  }

  /** Returns what messages call the source. */
  String name() {
    return name;
  }

  /** Returns the number of texts, blank ones among them. */
  long count() {
    return count;
  }

  /** Returns the number of texts that are blank. */
  long blank() {
    return blank;
  }

  /** Returns the texts; the caller closes the stream. */
  Stream<String> texts() {
    return reader().lines();
  }

  @Override
  public void close() {
    copy.ifPresent(TemporaryPath::close);
  }
}
