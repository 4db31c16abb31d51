package io.llara.examples;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.Objects.requireNonNull;

import com.google.common.base.Ascii;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.ProgressListener;
import io.llara.io.AtomicFiles;
import io.llara.io.Messages;
import io.llara.train.data.PassageSplitter;
import java.io.IOException;
import java.io.Writer;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Folders of text files, made one collection in BEIR format: JSON lines of {@code _id}, {@code
 * title} and {@code text}, which searching, mining, evaluation and training read.
 *
 * <p>Taken are files that end in {@code .txt}, {@code .md} or {@code .markdown}, at any depth, in
 * the order of their paths, as UTF-8 with or without a byte order mark. Hidden files and folders
 * and links to folders are skipped.
 *
 * <p>A document's id is the file's path below its folder, with {@code /} between names. Its title
 * is the first Markdown heading of the first level if nothing stands before it, which then is not
 * part of the text; else the file's name without extension. Lines are joined to paragraphs: a
 * paragraph ends at a blank line, and in Markdown before and after a heading. Paragraphs stay
 * separated by one line break; other markup stays as it is.
 *
 * <p>With a splitter each document is cut into passages, numbered from 1: {@code
 * guide/llamas.md#2}.
 *
 * @param folders where the texts are; searched in this order
 * @param skipBadFiles whether a file that is not UTF-8 text, or is larger than 32 MiB, is skipped
 *     with a warning rather than refused
 * @param splitter cuts documents into passages
 * @param listener hears how many of the files are done
 */
record TextFolder(
    List<Path> folders,
    boolean skipBadFiles,
    Optional<PassageSplitter> splitter,
    ProgressListener listener) {
  private static final Logger LOG = LoggerFactory.getLogger(TextFolder.class);

  /** As JSON a document may get longer, and its readers stop at twice this. */
  private static final long MAX_BYTES = 1 << 25;

  private static final Set<String> MARKDOWN = Set.of(".md", ".markdown");
  private static final Set<Character.UnicodeScript> WITHOUT_SPACES =
      Set.of(
          Character.UnicodeScript.HAN,
          Character.UnicodeScript.HIRAGANA,
          Character.UnicodeScript.KATAKANA);

  /** Copies the list. */
  TextFolder {
    folders = List.copyOf(folders);
  }

  /**
   * What was found.
   *
   * @param documents how many files gave a document
   * @param passages how many lines were written: passages, or the documents themselves
   * @param blankFiles how many text files have no text
   * @param badFiles how many text files could not be used and were skipped
   * @param otherFiles how many files have another extension
   */
  record Report(long documents, long passages, long blankFiles, long badFiles, long otherFiles) {}

  /** What is in a file. */
  private record Document(String title, String text) {}

  /** A file cannot be used; the message says why. */
  private static final class BadFileException extends Exception {
    private static final long serialVersionUID = 1L;

    BadFileException(String reason) {
      super(reason);
    }
  }

  /**
   * Writes the collection; gzipped if its name ends in {@code .gz}. The file appears when it is
   * complete.
   *
   * @throws LlaraException if there is no text at all, a file cannot be used, two have the same id,
   *     or the collection cannot be written; nothing is written then
   */
  Report write(Path collection) {
    Run run = new Run();
    folders.forEach(run::find);
    AtomicFiles.writeText(collection, run::write);
    return run.report();
  }

  /** One search and what it has found so far. */
  private final class Run {
    /**
     * Files by their ids, folder after folder: the order in which a file system lists is its own.
     */
    private final List<Map<String, Path>> found = new ArrayList<>();

    private final Map<String, Path> byId = new HashMap<>();
    private long documents;
    private long passages;
    private long blankFiles;
    private long badFiles;
    private long otherFiles;

    Report report() {
      return new Report(documents, passages, blankFiles, badFiles, otherFiles);
    }

    void find(Path folder) {
      if (!Files.isDirectory(folder)) {
        throw new LlaraException(
            "%s: %s; expected a folder of text files"
                .formatted(folder, Files.exists(folder) ? "is a file" : "does not exist"));
      }
      found.add(new TreeMap<>());
      try {
        find(folder, "");
      } catch (DirectoryIteratorException e) {
        throw unreadable(folder, requireNonNull(e.getCause()));
      } catch (IOException e) {
        throw unreadable(folder, e);
      }
    }

    /** Finds the files of a folder, whose ids have a prefix. */
    private void find(Path folder, String prefix) throws IOException {
      try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder)) {
        for (Path entry : entries) {
          String name = entry.getFileName().toString();
          if (name.startsWith(".")) {
            continue;
          }
          if (Files.isDirectory(entry, LinkOption.NOFOLLOW_LINKS)) {
            find(entry, prefix + name + "/");
          } else if (Files.isRegularFile(entry)) {
            add(entry, prefix + name);
          }
        }
      }
    }

    private void add(Path file, String id) {
      if (!isText(file)) {
        otherFiles++;
        return;
      }
      Path other = byId.putIfAbsent(id, file);
      if (other != null) {
        throw new LlaraException(
            "%s and %s would have the same id; give a folder that contains both"
                .formatted(other, file));
      }
      found.get(found.size() - 1).put(id, file);
    }

    void write(Writer writer) throws IOException {
      long done = 0;
      for (Map<String, Path> ofFolder : found) {
        for (Map.Entry<String, Path> file : ofFolder.entrySet()) {
          if (Thread.currentThread().isInterrupted()) {
            throw new LlaraException("collecting was interrupted; nothing was written");
          }
          write(file.getKey(), file.getValue(), writer);
          listener.progress(++done, byId.size());
        }
      }
      if (documents == 0) {
        throw new LlaraException(nothing());
      }
    }

    private void write(String id, Path file, Writer writer) throws IOException {
      Document document;
      try {
        document = read(file);
      } catch (BadFileException e) {
        String message = file + ": " + e.getMessage();
        if (!skipBadFiles) {
          throw new LlaraException(message, e);
        }
        LOG.warn("skipped: {}", message);
        badFiles++;
        return;
      }
      if (document.text().isEmpty()) {
        blankFiles++;
        return;
      }
      documents++;
      if (splitter.isEmpty()) {
        line(id, document.title(), document.text(), writer);
        return;
      }
      int number = 0;
      for (String passage : splitter.get().split(document.text())) {
        line(id + "#" + ++number, document.title(), passage, writer);
      }
    }

    private void line(String id, String title, String text, Writer writer) throws IOException {
      JsonObject json = new JsonObject();
      json.addProperty("_id", id);
      json.addProperty("title", title);
      json.addProperty("text", text);
      writer.append(json.toString()).append('\n');
      passages++;
    }

    private String nothing() {
      String found =
          Stream.of(
                  files(blankFiles, "without text"),
                  files(badFiles, "that could not be used"),
                  files(otherFiles, "with other extensions"))
              .flatMap(Optional::stream)
              .collect(Collectors.joining(", "));
      return "%s: contains no text; expected files whose names end in .txt, .md or .markdown%s"
          .formatted(
              folders.stream().map(Path::toString).collect(Collectors.joining(", ")),
              found.isEmpty() ? "" : "; found " + found);
    }
  }

  /** Says how many files there are of a kind, if any. */
  static Optional<String> files(long count, String kind) {
    return count == 0
        ? Optional.empty()
        : Optional.of("%d %s %s".formatted(count, count == 1 ? "file" : "files", kind));
  }

  private static String extension(Path file) {
    String name = Ascii.toLowerCase(file.getFileName().toString());
    int dot = name.lastIndexOf('.');
    return dot < 0 ? "" : name.substring(dot);
  }

  /** Returns whether a file is taken, by its name. */
  static boolean isText(Path file) {
    return isMarkdown(file) || extension(file).equals(".txt");
  }

  private static boolean isMarkdown(Path file) {
    return MARKDOWN.contains(extension(file));
  }

  private static Document read(Path file) throws BadFileException {
    List<String> paragraphs = paragraphs(content(file), isMarkdown(file));
    if (isMarkdown(file) && !paragraphs.isEmpty() && paragraphs.get(0).startsWith("# ")) {
      // "# Llamas #" is the same heading.
      String title = paragraphs.remove(0).replaceAll("^#\\s+|\\s+#+$", "");
      return new Document(title, String.join("\n", paragraphs));
    }
    String name = file.getFileName().toString();
    return new Document(name.substring(0, name.lastIndexOf('.')), String.join("\n", paragraphs));
  }

  private static LlaraException unreadable(Path path, IOException e) {
    return new LlaraException("%s: cannot be read: %s".formatted(path, Messages.reason(e)), e);
  }

  private static String content(Path file) throws BadFileException {
    String content;
    try {
      long bytes = Files.size(file);
      if (bytes > MAX_BYTES) {
        throw new BadFileException("has %d bytes, at most %d".formatted(bytes, MAX_BYTES));
      }
      content = UTF_8.newDecoder().decode(ByteBuffer.wrap(Files.readAllBytes(file))).toString();
    } catch (CharacterCodingException e) {
      throw new BadFileException("is not UTF-8");
    } catch (IOException e) {
      throw unreadable(file, e);
    }
    if (content.indexOf('\0') >= 0) {
      throw new BadFileException("is not text: it has a NUL character");
    }
    return content.startsWith("\uFEFF") ? content.substring(1) : content;
  }

  private static List<String> paragraphs(String content, boolean markdown) {
    List<String> paragraphs = new ArrayList<>();
    StringBuilder paragraph = new StringBuilder();
    for (String line : content.lines().map(String::strip).toList()) {
      boolean heading = markdown && line.matches("#{1,6}\\s.*");
      if (line.isEmpty() || heading) {
        finish(paragraph, paragraphs);
      }
      if (!paragraph.isEmpty() && spaced(paragraph.codePointBefore(paragraph.length()), line)) {
        paragraph.append(' ');
      }
      paragraph.append(line);
      if (heading) {
        finish(paragraph, paragraphs);
      }
    }
    finish(paragraph, paragraphs);
    return paragraphs;
  }

  private static void finish(StringBuilder paragraph, List<String> paragraphs) {
    if (!paragraph.isEmpty()) {
      paragraphs.add(paragraph.toString());
      paragraph.setLength(0);
    }
  }

  /** Returns whether a line break stands for a space. */
  private static boolean spaced(int before, String line) {
    return !(WITHOUT_SPACES.contains(Character.UnicodeScript.of(before))
        && WITHOUT_SPACES.contains(Character.UnicodeScript.of(line.codePointAt(0))));
  }
}
