package io.llara.examples;

import io.llara.retrieval.CorpusVectors.CachePlace;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** Where a command caches vectors. */
final class CacheOptions {
  @Option(
      names = "--cache",
      paramLabel = "DIR",
      description = "Where vectors are cached (default: $XDG_CACHE_HOME/llara or ~/.cache/llara).")
  private Optional<Path> directory = Optional.empty();

  @Option(names = "--no-cache", description = "Neither read nor write the cache.")
  private boolean none;

  /** Returns where a model's vectors are cached, if they are. */
  Optional<CachePlace> place(Path model, Optional<Path> adapter) {
    return none
        ? Optional.empty()
        : Optional.of(CachePlace.of(directory.orElseGet(CacheOptions::ofUser), model, adapter));
  }

  /** Returns this program's directory in the user's cache; it need not exist. */
  private static Path ofUser() {
    // The specification says to ignore relative paths. Java does not ask HOME for the home
    // directory.
    return absolute("XDG_CACHE_HOME")
        .or(() -> absolute("HOME").map(home -> home.resolve(".cache")))
        .orElseGet(() -> Path.of(System.getProperty("user.home"), ".cache"))
        .resolve("llara");
  }

  private static Optional<Path> absolute(String variable) {
    return Optional.ofNullable(System.getenv(variable)).map(Path::of).filter(Path::isAbsolute);
  }
}
