package io.llara.examples;

import io.llara.LlaraException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.stream.Stream;

/**
 * Texts, one a line, checked before any work is done: every line must be UTF-8 and not blank. What
 * comes from standard input is put aside in a file first, so that neither the check nor the number
 * of lines needs all texts in memory.
 */
final class TextLines implements AutoCloseable {
  private static final String BYTE_ORDER_MARK = "\uFEFF";

  private final String name;
  private final Path file;
  private final boolean temporary;
  private long count;

  private TextLines(String name, Path file, boolean temporary) {
    this.name = name;
    this.file = file;
    this.temporary = temporary;
  }

  /**
   * Opens a file, or standard input for {@code -}, and checks all of its lines.
   *
   * @throws LlaraException if it cannot be read, or a line is blank or not UTF-8
   */
  static TextLines open(String argument, InputStream in) {
    TextLines lines = null;
    try {
      lines = argument.equals("-") ? spool(in) : regular(Path.of(argument));
      lines.check();
      return lines;
    } catch (IOException | RuntimeException e) {
      if (lines != null) {
        lines.close();
      }
      if (e instanceof RuntimeException unchecked) {
        throw unchecked;
      }
      throw new LlaraException("%s: cannot be read: %s".formatted(argument, e.getMessage()), e);
    }
  }

  private static TextLines regular(Path file) throws IOException {
    if (!Files.exists(file) || Files.isDirectory(file)) {
      throw new LlaraException(
          "%s: %s; expected a file of one text a line"
              .formatted(file, Files.exists(file) ? "is a directory" : "does not exist"));
    }
    if (Files.isRegularFile(file)) {
      return new TextLines(file.toString(), file, false);
    }
    // A pipe can be read only once.
    try (InputStream in = Files.newInputStream(file)) {
      return spool(in);
    }
  }

  private static TextLines spool(InputStream in) throws IOException {
    Path copy = Files.createTempFile("llara-texts", ".txt");
    copy.toFile().deleteOnExit();
    Files.copy(in, copy, StandardCopyOption.REPLACE_EXISTING);
    return new TextLines("standard input", copy, true);
  }

  private void check() throws IOException {
    try (BufferedReader reader = reader()) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        count++;
        if (withoutMark(line).isBlank()) {
          throw new LlaraException(
              "%s: line %d is %s; expected a text"
                  .formatted(name, count, line.isEmpty() ? "empty" : "blank"));
        }
      }
    } catch (CharacterCodingException e) {
      throw new LlaraException(
          "%s: is not UTF-8 at line %d or soon after it".formatted(name, count + 1), e);
    }
  }

  /** A mark at the beginning of a file says that it is Unicode; it is no part of the text. */
  private static String withoutMark(String line) {
    return line.startsWith(BYTE_ORDER_MARK) ? line.substring(1) : line;
  }

  private BufferedReader reader() throws IOException {
    return new BufferedReader(
        new InputStreamReader(Files.newInputStream(file), StandardCharsets.UTF_8.newDecoder()));
  }

  /** Returns what messages call the source. */
  String name() {
    return name;
  }

  /** Returns the number of texts. */
  long count() {
    return count;
  }

  /** Returns the texts; the caller closes the stream. */
  Stream<String> texts() {
    try {
      return Files.lines(file, StandardCharsets.UTF_8).map(TextLines::withoutMark);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be read: %s".formatted(name, e.getMessage()), e);
    }
  }

  @Override
  public void close() {
    if (temporary) {
      try {
        Files.deleteIfExists(file);
      } catch (IOException e) {
        throw new LlaraException("%s: cannot be deleted: %s".formatted(file, e.getMessage()), e);
      }
    }
  }
}
