package io.llara.retrieval;

import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.io.JsonSection;
import io.llara.io.LineReader;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Reads a file of documents, or of queries, one line at a time; plain or gzipped, UTF-8. The first
 * line tells which of three forms it has:
 *
 * <ul>
 *   <li>BEIR: JSON objects with {@code _id}, {@code title} (optional) and {@code text};
 *   <li>MS MARCO: id and text, separated by a tab;
 *   <li>DPR ({@code psgs_w100.tsv}): the header {@code id text title}, then these three, separated
 *       by tabs and quoted as CSV is.
 * </ul>
 *
 * <p>Not thread-safe.
 */
@Internal
public final class DocumentReader implements AutoCloseable {
  private static final String DPR_HEADER = "id\ttext\ttitle";
  private static final String DPR = "id, text and title, separated by tabs";

  private final LineReader lines;
  private @Nullable Form form;

  private enum Form {
    JSON,
    MS_MARCO,
    DPR
  }

  /** Takes over the lines. */
  public DocumentReader(LineReader lines) {
    this.lines = lines;
  }

  /**
   * Opens a file.
   *
   * @throws LlaraException if there is none, or it is damaged gzip data
   */
  public static DocumentReader open(Path file) {
    return new DocumentReader(LineReader.open(file, "a file of documents, one a line"));
  }

  /**
   * Reads the next document, passing over blank lines.
   *
   * @return null after the last
   * @throws LlaraException naming file and line if it is something else
   */
  public @Nullable Document next() {
    if (!lines.advanceToText()) {
      return null;
    }
    String line = lines.line();
    if (form == null) {
      form = form(line);
      if (form == Form.DPR) {
        return next();
      }
    }
    return switch (form) {
      case JSON -> ofJson(lines.json());
      case MS_MARCO -> ofFields(fields(lines, line, 2, "id and text, separated by a tab"));
      case DPR -> ofDpr(lines);
    };
  }

  private static Form form(String line) {
    // A tab may stand between the tokens of JSON, too.
    if (line.indexOf('\t') < 0 || line.stripLeading().startsWith("{")) {
      return Form.JSON;
    }
    return isDprHeader(line) ? Form.DPR : Form.MS_MARCO;
  }

  private static Document ofJson(JsonSection json) {
    return new Document(
        json.requiredText("_id"), json.string("title").orElse(""), json.requiredOrNull("text"));
  }

  private static Document ofFields(String[] fields) {
    return new Document(fields[0], fields.length == 3 ? fields[2] : "", fields[1]);
  }

  /** Returns whether a line is the header of DPR's form. */
  public static boolean isDprHeader(String line) {
    return line.equals(DPR_HEADER);
  }

  /**
   * Reads a line of DPR's form.
   *
   * @throws LlaraException if it is something else; names the line
   */
  public static Document ofDpr(LineReader lines) {
    String[] fields = fields(lines, lines.line(), 3, DPR);
    for (int i = 0; i < fields.length; i++) {
      fields[i] = unquoted(fields[i]);
    }
    return ofFields(fields);
  }

  private static String[] fields(LineReader lines, String line, int count, String expected) {
    String[] fields = line.split("\t", -1);
    if (fields.length != count) {
      throw lines.error(
          "has %d %s; expected %s"
              .formatted(fields.length, fields.length == 1 ? "field" : "fields", expected));
    }
    fields[0] = fields[0].strip();
    if (fields[0].isEmpty()) {
      throw lines.error("has an empty id; expected " + expected);
    }
    return fields;
  }

  /** As CSV has it: a field in quotes, and those within it doubled. */
  private static String unquoted(String field) {
    return field.length() >= 2 && field.startsWith("\"") && field.endsWith("\"")
        ? field.substring(1, field.length() - 1).replace("\"\"", "\"")
        : field;
  }

  /** Returns the lines, at that of the last document. */
  public LineReader lines() {
    return lines;
  }

  @Override
  public void close() {
    lines.close();
  }
}
