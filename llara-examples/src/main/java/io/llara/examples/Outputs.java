package io.llara.examples;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The files that a command writes, checked before it begins: each can be written, none is written
 * twice, and none is a file that the command reads, or lies in a directory that it reads. What is
 * read is added first.
 */
final class Outputs {
  private final Map<Path, String> read = new LinkedHashMap<>();
  private final Map<Path, String> written = new LinkedHashMap<>();

  /** Adds files that are read, and directories with all that is in them. */
  Outputs reads(String option, Collection<Path> paths) {
    paths.forEach(path -> read.put(real(path), option));
    return this;
  }

  /**
   * Adds a file that is written.
   *
   * @throws LlaraException if it cannot be, or is one that is read, or is written as well
   */
  Outputs writes(String option, Path file) {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null || Files.isDirectory(file)) {
      throw new LlaraException("%s %s: is a folder; expected a file".formatted(option, file));
    }
    if (!Files.isDirectory(folder)) {
      throw new LlaraException(
          "%s %s: the folder %s does not exist".formatted(option, file, folder));
    }
    if (Files.exists(file) && !Files.isRegularFile(file)) {
      // A device or a pipe: nothing in it can be lost.
      return this;
    }
    Path real = real(file);
    read.forEach(
        (input, by) -> {
          if (real.equals(input)) {
            throw new LlaraException(
                "%s %s: is also what %s reads; choose another file".formatted(option, file, by));
          }
          if (real.startsWith(input)) {
            throw new LlaraException(
                "%s %s: lies in %s, which %s reads; choose another file"
                    .formatted(option, file, input, by));
          }
        });
    String other = written.putIfAbsent(real, option);
    if (other != null) {
      throw new LlaraException(
          "%s %s: is also what %s writes; choose another file".formatted(option, file, other));
    }
    return this;
  }

  /** Returns where a path leads, links followed, whether there is a file or not. */
  private static Path real(Path path) {
    Path absolute = path.toAbsolutePath().normalize();
    Path folder = absolute.getParent();
    try {
      return Files.exists(path) || folder == null
          ? path.toRealPath()
          : folder.toRealPath().resolve(absolute.getFileName());
    } catch (IOException e) {
      return absolute;
    }
  }
}
