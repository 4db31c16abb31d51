package io.llara.train.data;

import static java.util.Objects.requireNonNull;

import com.google.common.base.Ascii;
import com.google.common.collect.ImmutableList;
import com.google.gson.stream.JsonWriter;
import io.llara.LlaraException;
import io.llara.ProgressListener;
import io.llara.io.AtomicFiles;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.io.Writer;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Folders of text files, made one collection in BEIR format: JSON lines of {@code _id}, {@code
 * title} and {@code text}, which searching, mining, evaluation and {@link TextSource} read.
 *
 * <p>Taken are files that end in {@code .txt}, {@code .md} or {@code .markdown}, at any depth, in
 * the order of their paths, as UTF-8 with or without a byte order mark. Hidden files and folders
 * and links to folders are passed over.
 *
 * <p>A document's id is the file's path below its folder, with {@code /} between names. Its title
 * is the first Markdown heading of the first level if that is the first line with anything in it,
 * and then no part of the text; else the file's name without ending. Lines are joined to
 * paragraphs: a paragraph ends at a blank line, and in Markdown before and after a heading.
 * Paragraphs stay separated by one line break; other markup stays as it is.
 *
 * <p>With {@link Builder#passages} each document is cut into passages of whole sentences. They are
 * numbered from 1: {@code guide/llamas.md#2}.
 *
 * <pre>{@code
 * TextFolder.Report report =
 *     TextFolder.builder(List.of(Path.of("notes"))).build().write(Path.of("notes.jsonl.gz"));
 * }</pre>
 *
 * <p>Immutable and thread-safe; it uses the tokenizer and does not close it.
 */
public final class TextFolder {
  private static final Logger LOG = LoggerFactory.getLogger(TextFolder.class);

  /** As JSON a document may get longer, and what reads it ends at twice this. */
  private static final long MOST_BYTES = 1 << 25;

  private static final String TEXT = ".txt";
  private static final Set<String> MARKDOWN = Set.of(".md", ".markdown");
  private static final Set<Character.UnicodeScript> WITHOUT_SPACES =
      Set.of(
          Character.UnicodeScript.HAN,
          Character.UnicodeScript.HIRAGANA,
          Character.UnicodeScript.KATAKANA);

  private final ImmutableList<Path> folders;
  private final BadLines badFiles;
  private final @Nullable Tokenizer tokenizer;
  private final int passageTokens;
  private final ProgressListener listener;

  private TextFolder(Builder builder) {
    this.folders = builder.folders;
    this.badFiles = builder.badFiles;
    this.tokenizer = builder.tokenizer;
    this.passageTokens = builder.passageTokens;
    this.listener = builder.listener;
  }

  /**
   * What was found.
   *
   * @param documents how many files gave a document
   * @param passages how many lines were written: passages, or the documents themselves
   * @param blankFiles how many files of text have no text
   * @param badFiles how many files of text could not be used and were skipped
   * @param otherFiles how many files have another ending
   */
  public record Report(
      long documents, long passages, long blankFiles, long badFiles, long otherFiles) {}

  /** A file to read. */
  private record Found(Path file, String id) {}

  /** What is in a file. */
  private record Document(String title, String text) {}

  /**
   * Returns a builder.
   *
   * @param folders where texts are; searched in this order
   */
  public static Builder builder(List<Path> folders) {
    return new Builder(folders);
  }

  /**
   * Writes the collection; gzipped if its name ends in {@code .gz}. The file appears when it is
   * whole.
   *
   * @throws LlaraException if there is no text at all, a file cannot be used, two have the same id,
   *     or the collection cannot be written; nothing is written then
   */
  public Report write(Path collection) {
    Walk walk = new Walk();
    for (Path folder : folders) {
      walk.through(folder);
    }
    Counts counts = new Counts();
    AtomicFiles.writeText(
        collection,
        text -> {
          Lines lines = new Lines(text, counts);
          long done = 0;
          for (Found found : walk.found.values()) {
            requireGoingOn();
            lines.add(found);
            listener.progress(++done, walk.found.size());
          }
          if (counts.documents == 0) {
            throw nothing(walk, counts);
          }
        });
    return new Report(
        counts.documents, counts.passages, counts.blankFiles, counts.badFiles, walk.otherFiles);
  }

  private LlaraException nothing(Walk walk, Counts counts) {
    List<String> what = new ArrayList<>();
    add(what, counts.blankFiles, "without text");
    add(what, counts.badFiles, "bad");
    add(what, walk.otherFiles, "with other endings");
    return new LlaraException(
        "%s: no text in it; expected files that end in .txt, .md or .markdown%s"
            .formatted(
                String.join(", ", folders.stream().map(Path::toString).toList()),
                what.isEmpty() ? "" : ", found " + String.join(", ", what)));
  }

  private static void add(List<String> what, long files, String kind) {
    if (files > 0) {
      what.add("%d %s %s".formatted(files, files == 1 ? "file" : "files", kind));
    }
  }

  private static void requireGoingOn() {
    if (Thread.currentThread().isInterrupted()) {
      throw new LlaraException("the collecting was interrupted; nothing was written");
    }
  }

  private static String ending(Path file) {
    String name = Ascii.toLowerCase(file.getFileName().toString());
    int dot = name.lastIndexOf('.');
    return dot < 0 ? "" : name.substring(dot);
  }

  private static LlaraException unreadable(Path file, IOException e) {
    return new LlaraException("%s: cannot be read: %s".formatted(file, e), e);
  }

  /** Looks for files. */
  private static final class Walk extends SimpleFileVisitor<Path> {
    /** Sorted by folder, then by id: the order in which a file system lists is its own. */
    private final Map<String, Found> found = new TreeMap<>();

    private final Map<String, Path> ids = new HashMap<>();
    private int folderNumber;
    private Path folder = Path.of("");
    private Path root = Path.of("");
    private long otherFiles;

    void through(Path start) {
      if (!Files.isDirectory(start)) {
        throw new LlaraException(
            "%s: %s; expected a folder of text files"
                .formatted(start, Files.exists(start) ? "is a file" : "does not exist"));
      }
      folder = start;
      folderNumber++;
      try {
        // The start itself may be a link.
        root = start.toRealPath();
        Files.walkFileTree(root, this);
      } catch (IOException e) {
        throw unreadable(start, e);
      }
    }

    @Override
    public FileVisitResult preVisitDirectory(Path at, BasicFileAttributes attributes) {
      return hidden(at) && !at.equals(root)
          ? FileVisitResult.SKIP_SUBTREE
          : FileVisitResult.CONTINUE;
    }

    @Override
    public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
      if (hidden(file) || !Files.isRegularFile(file)) {
        return FileVisitResult.CONTINUE;
      }
      String ending = ending(file);
      if (!ending.equals(TEXT) && !MARKDOWN.contains(ending)) {
        otherFiles++;
        return FileVisitResult.CONTINUE;
      }
      Path relative = root.relativize(file);
      List<String> names = new ArrayList<>();
      relative.forEach(name -> names.add(name.toString()));
      String id = String.join("/", names);
      Path shown = folder.resolve(relative.toString());
      Path before = ids.putIfAbsent(id, shown);
      if (before != null) {
        throw new LlaraException(
            "%s and %s would have the same id; give a folder above both".formatted(before, shown));
      }
      found.put("%09d %s".formatted(folderNumber, id), new Found(shown, id));
      return FileVisitResult.CONTINUE;
    }

    private static boolean hidden(Path path) {
      Path name = path.getFileName();
      return name != null && name.toString().startsWith(".");
    }
  }

  /** What has been written so far. */
  private static final class Counts {
    private long documents;
    private long passages;
    private long blankFiles;
    private long badFiles;
  }

  /** Writes the lines of the collection. */
  private final class Lines {
    private final Writer text;
    private final Counts counts;
    private final @Nullable PassageSplitter splitter;

    Lines(Writer text, Counts counts) {
      this.text = text;
      this.counts = counts;
      this.splitter =
          tokenizer == null
              ? null
              : new PassageSplitter(
                  words -> requireNonNull(tokenizer).encodeText(words).length, passageTokens);
    }

    void add(Found found) throws IOException {
      Document document;
      try {
        document = read(found.file());
      } catch (BadLineException e) {
        String message = found.file() + ": " + e.getMessage();
        if (badFiles == BadLines.REFUSE) {
          throw new LlaraException(message, e);
        }
        LOG.warn("skipped: {}", message);
        counts.badFiles++;
        return;
      }
      if (document.text().isEmpty()) {
        counts.blankFiles++;
        return;
      }
      counts.documents++;
      if (splitter == null) {
        line(found.id(), document.title(), document.text());
        return;
      }
      int number = 0;
      for (String passage : splitter.split(document.text())) {
        line(found.id() + "#" + ++number, document.title(), passage);
      }
    }

    private void line(String id, String title, String content) throws IOException {
      JsonWriter json = new JsonWriter(text);
      json.beginObject();
      json.name("_id").value(id);
      json.name("title").value(title);
      json.name("text").value(content);
      json.endObject();
      text.write('\n');
      counts.passages++;
    }
  }

  private static Document read(Path file) throws BadLineException {
    String content = content(file);
    boolean markdown = MARKDOWN.contains(ending(file));
    List<String> paragraphs = paragraphs(content, markdown);
    if (markdown && !paragraphs.isEmpty() && paragraphs.get(0).startsWith("# ")) {
      // "# Llamas #" is the same heading.
      String title = paragraphs.remove(0).replaceAll("^#\\s+|\\s+#+$", "");
      return new Document(title, String.join("\n", paragraphs));
    }
    String name = file.getFileName().toString();
    return new Document(name.substring(0, name.lastIndexOf('.')), String.join("\n", paragraphs));
  }

  private static String content(Path file) throws BadLineException {
    String content;
    try {
      long bytes = Files.size(file);
      if (bytes > MOST_BYTES) {
        throw new BadLineException("has %d bytes, at most %d".formatted(bytes, MOST_BYTES));
      }
      content =
          StandardCharsets.UTF_8
              .newDecoder()
              .decode(ByteBuffer.wrap(Files.readAllBytes(file)))
              .toString();
    } catch (CharacterCodingException e) {
      throw new BadLineException("is not UTF-8", e);
    } catch (IOException e) {
      throw unreadable(file, e);
    }
    if (content.indexOf('\0') >= 0) {
      throw new BadLineException("is no text: it has a NUL character");
    }
    return content.startsWith("\uFEFF") ? content.substring(1) : content;
  }

  private static List<String> paragraphs(String content, boolean markdown) {
    List<String> paragraphs = new ArrayList<>();
    StringBuilder paragraph = new StringBuilder();
    for (String line : (Iterable<String>) content.lines().map(String::strip)::iterator) {
      boolean heading = markdown && line.matches("#{1,6}\\s.*");
      if (line.isEmpty() || heading) {
        finish(paragraph, paragraphs);
      }
      if (!paragraph.isEmpty() && gap(paragraph.codePointBefore(paragraph.length()), line)) {
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
  private static boolean gap(int before, String line) {
    return !(WITHOUT_SPACES.contains(Character.UnicodeScript.of(before))
        && WITHOUT_SPACES.contains(Character.UnicodeScript.of(line.codePointAt(0))));
  }

  /** Collects the settings. Not thread-safe. */
  public static final class Builder {
    private final ImmutableList<Path> folders;
    private BadLines badFiles = BadLines.REFUSE;
    private @Nullable Tokenizer tokenizer;
    private int passageTokens = TextSource.DEFAULT_PASSAGE_TOKENS;
    private ProgressListener listener = (done, total) -> {};

    private Builder(List<Path> folders) {
      this.folders = ImmutableList.copyOf(folders);
    }

    /**
     * Cuts documents into passages of whole sentences.
     *
     * @param tokenizer measures them
     * @param tokens the most tokens in a passage, at least 8; sentences are counted one by one, so
     *     that a whole passage may have a few more
     */
    public Builder passages(Tokenizer tokenizer, int tokens) {
      this.tokenizer = tokenizer;
      this.passageTokens = tokens;
      return this;
    }

    /**
     * Sets what happens to a file that is no UTF-8 text, or is larger than 32 MiB; {@link
     * BadLines#REFUSE} by default.
     */
    public Builder badFiles(BadLines files) {
      this.badFiles = files;
      return this;
    }

    /** Sets who is told how many of the files are done. */
    public Builder progress(ProgressListener progress) {
      this.listener = progress;
      return this;
    }

    /**
     * Returns the folders.
     *
     * @throws IllegalArgumentException if there is none, or passages are too short
     */
    public TextFolder build() {
      List<String> problems = new ArrayList<>(TextSource.passageProblems(passageTokens));
      if (folders.isEmpty()) {
        problems.add("there is no folder");
      }
      if (!problems.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", problems));
      }
      return new TextFolder(this);
    }
  }
}
