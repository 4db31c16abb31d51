package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import com.google.common.hash.Hashing;
import com.google.common.io.MoreFiles;
import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.gguf.GgufImporter;
import io.llara.io.AtomicFiles;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * Says whether a model is the same as before: SHA-256 over the content of its settings, tokenizer,
 * weights and adapter, wherever they lie.
 *
 * <p>The weights are hashed in full. As that takes seconds for large ones, the hash of a large file
 * is noted in the cache, under everything the system tells of the file: path, device and inode,
 * size, time of the last change of content and of the last change of any kind (ctime, which no
 * program can set back). On systems without such times every file is hashed each time.
 */
public final class ModelFingerprint {
  /** Smaller files are hashed faster than looked up. */
  private static final long NOTED_BYTES = 64L << 20;

  /** A file changed this lately may change again within the resolution of its times. */
  private static final Duration SETTLED = Duration.ofSeconds(5);

  private final Optional<Path> notes;

  /**
   * Creates a fingerprinter.
   *
   * @param notes the directory for hashes of large files, if they are to be noted
   */
  public ModelFingerprint(Optional<Path> notes) {
    this.notes = notes;
  }

  /**
   * Returns the fingerprint of a checkpoint or a GGUF file and of the adapter on top of it.
   *
   * @throws LlaraException if a file cannot be read
   */
  public String of(Path model, Optional<Path> adapter) {
    List<String> parts = new ArrayList<>();
    try {
      add(files(model), parts);
      if (adapter.isPresent()) {
        TreeSet<Path> adapterFiles = new TreeSet<>(list(adapter.get(), ".json", ".safetensors"));
        parts.add("adapter");
        add(adapterFiles, parts);
      }
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be read: %s".formatted(model, Messages.reason(e)), e);
    }
    return TextDigest.of(parts);
  }

  private static Set<Path> files(Path model) throws IOException {
    if (GgufImporter.isGguf(model)) {
      return Set.of(model);
    }
    TreeSet<Path> files = new TreeSet<>(list(model, ".json"));
    files.addAll(CheckpointDirectory.open(model).weightFiles());
    // Pooling and the layers behind it, as sentence-transformers has them: 1_Pooling, 2_Dense.
    try (DirectoryStream<Path> modules = Files.newDirectoryStream(model, "[0-9]*_*")) {
      for (Path module : modules) {
        if (Files.isDirectory(module)) {
          files.addAll(list(module, ".json", ".safetensors"));
        }
      }
    }
    return files;
  }

  private static List<Path> list(Path directory, String... endings) throws IOException {
    try (Stream<Path> entries = Files.list(directory)) {
      return entries
          .filter(Files::isRegularFile)
          .filter(path -> Stream.of(endings).anyMatch(path.toString()::endsWith))
          .toList();
    }
  }

  private void add(Iterable<Path> files, List<String> parts) throws IOException {
    for (Path file : files) {
      parts.add(file.getFileName().toString());
      parts.add(hash(file));
    }
  }

  private String hash(Path file) throws IOException {
    if (notes.isEmpty() || Files.size(file) < NOTED_BYTES) {
      return hashInFull(file);
    }
    Optional<FileState> state = FileState.of(file);
    if (state.isEmpty()) {
      return hashInFull(file);
    }
    Path note = notes.get().resolve(TextDigest.of(state.get().parts()) + ".sha256");
    if (Files.isRegularFile(note) && Files.size(note) == 64) {
      return Files.readString(note);
    }
    Instant before = Instant.now();
    String hash = hashInFull(file);
    boolean settled = state.get().changed().isBefore(before.minus(SETTLED));
    if (settled && FileState.of(file).equals(state)) {
      try {
        Files.createDirectories(notes.get());
        AtomicFiles.write(note, hash.getBytes(StandardCharsets.US_ASCII));
      } catch (IOException | LlaraException e) {
        // Only time is lost; where vectors are stored a note says that the cache is not writable.
        return hash;
      }
    }
    return hash;
  }

  private static String hashInFull(Path file) throws IOException {
    return MoreFiles.asByteSource(file).hash(Hashing.sha256()).toString();
  }

  /** What changes when a file does. */
  private record FileState(List<String> parts, Instant changed) {
    static Optional<FileState> of(Path file) throws IOException {
      if (!file.getFileSystem().supportedFileAttributeViews().contains("unix")) {
        return Optional.empty();
      }
      Map<String, Object> attributes =
          new TreeMap<>(Files.readAttributes(file, "unix:dev,ino,size,lastModifiedTime,ctime"));
      FileTime changed = (FileTime) requireNonNull(attributes.get("ctime"));
      List<String> parts = List.of(file.toRealPath().toString(), attributes.toString());
      return Optional.of(new FileState(parts, changed.toInstant()));
    }
  }
}
