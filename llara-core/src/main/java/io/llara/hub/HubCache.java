package io.llara.hub;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.WeightFiles;
import io.llara.io.AtomicFiles;
import io.llara.io.TemporaryPath;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * The part of the cache that holds one model: {@code refs} has the commit of each revision, {@code
 * blobs} the content of files by its hash, {@code snapshots} a folder for each commit, whose files
 * are links to blobs. The layout is that of {@code huggingface_hub}.
 */
final class HubCache {
  private static final Pattern COMMIT = Pattern.compile("[0-9a-f]{40}");

  private final Path root;
  private final Path locks;

  HubCache(Path cache, HubId id) {
    String name = "models--" + id.repository().replace("/", "--");
    this.root = cache.resolve(name);
    this.locks = cache.resolve(".locks").resolve(name);
  }

  /** Returns where the cache of all models is, by the variables that Python's client reads. */
  static Path folder(Map<String, String> environment) {
    return path(environment, "HF_HUB_CACHE").orElseGet(() -> home(environment).resolve("hub"));
  }

  /** Returns where the hub's programs keep everything of the user's. */
  static Path home(Map<String, String> environment) {
    return path(environment, "HF_HOME")
        .orElseGet(
            () ->
                path(environment, "XDG_CACHE_HOME")
                    .or(() -> path(environment, "HOME").map(home -> home.resolve(".cache")))
                    .orElseGet(() -> Path.of(System.getProperty("user.home"), ".cache"))
                    .resolve("huggingface"));
  }

  private static Optional<Path> path(Map<String, String> environment, String variable) {
    return Optional.ofNullable(environment.get(variable))
        .filter(value -> !value.isBlank())
        .map(Path::of);
  }

  static boolean isCommit(String text) {
    return COMMIT.matcher(text).matches();
  }

  /** Returns the folder of the files of a commit. */
  Path snapshot(String commit) {
    return root.resolve("snapshots").resolve(commit);
  }

  Path blob(String etag) {
    return root.resolve("blobs").resolve(etag);
  }

  Path lock(String etag) {
    return locks.resolve(etag + ".lock");
  }

  /** Returns the snapshot of a revision, if all that an encoder needs is in it. */
  Optional<Path> complete(String revision) throws IOException {
    String commit = isCommit(revision) ? revision : noted(revision);
    if (!isCommit(commit)) {
      return Optional.empty();
    }
    Path snapshot = snapshot(commit);
    boolean complete =
        Files.exists(snapshot.resolve(CheckpointDirectory.CONFIG))
            && (Files.exists(snapshot.resolve("tokenizer.json"))
                || Files.exists(snapshot.resolve("tokenizer.model")))
            && hasWeights(snapshot);
    return complete ? Optional.of(snapshot) : Optional.empty();
  }

  private static boolean hasWeights(Path snapshot) {
    Path index = snapshot.resolve(WeightFiles.INDEX_FILE);
    return Files.exists(snapshot.resolve(WeightFiles.SINGLE_FILE))
        || Files.exists(index)
            && WeightFiles.shards(index).stream().map(snapshot::resolve).allMatch(Files::exists);
  }

  private Path ref(String revision) {
    return root.resolve("refs").resolve(revision);
  }

  /** Returns what is noted of a branch or a tag; empty if nothing is. */
  private String noted(String revision) throws IOException {
    Path ref = ref(revision);
    return Files.isRegularFile(ref) ? Files.readString(ref, StandardCharsets.UTF_8).strip() : "";
  }

  /** Notes which commit a branch or a tag is at; a cache in which nothing changes is only read. */
  void setCommit(String revision, String commit) throws IOException {
    if (!revision.equals(commit) && !noted(revision).equals(commit)) {
      Path ref = ref(revision);
      Files.createDirectories(ref.resolveSibling(""));
      AtomicFiles.write(ref, commit.getBytes(StandardCharsets.UTF_8));
    }
  }

  /** Gives a blob the name of a file of a commit, unless it has it already. */
  void link(String commit, String file, String etag) throws IOException {
    Path link = snapshot(commit).resolve(file);
    Path blob = blob(etag);
    Files.createDirectories(link.resolveSibling(""));
    if (Files.isSymbolicLink(link) && Files.notExists(link)) {
      Files.deleteIfExists(link); // The blob it leads to is gone.
    }
    try {
      Files.createSymbolicLink(link, link.resolveSibling("").relativize(blob));
    } catch (FileAlreadyExistsException e) {
      return; // Another process was faster.
    } catch (UnsupportedOperationException | FileSystemException e) {
      // Windows, without the right to make links.
      try (TemporaryPath copy = TemporaryPath.beside(link)) {
        Files.copy(blob, copy.path());
        copy.moveTo(link);
      }
    }
  }
}
