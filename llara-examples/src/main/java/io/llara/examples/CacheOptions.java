package io.llara.examples;

import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.VectorStorage;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Where a command's vectors are. */
final class CacheOptions {
  static final String STORAGES = "float32|float16|int8|binary";

  static final String STORAGE_DESCRIPTION =
      "How the vectors of passages are stored: in 4 or 2 bytes a value, 1 and a scale for each"
          + " vector, or 1 bit (default: ${DEFAULT-VALUE}).";

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--cache",
      paramLabel = "DIR",
      description = "Where vectors are cached (default: $XDG_CACHE_HOME/llara or ~/.cache/llara).")
  private Optional<Path> directory = Optional.empty();

  @Option(names = "--no-cache", description = "Neither read nor write the cache.")
  private boolean none;

  @Option(
      names = "--storage",
      paramLabel = STORAGES,
      defaultValue = "float32",
      description = STORAGE_DESCRIPTION)
  private VectorStorage storage = VectorStorage.FLOAT32;

  @Option(
      names = "--vectors",
      paramLabel = "FILE",
      description =
          "The vectors of the passages, as encode-corpus or merge-vectors wrote them, in place of the"
              + " cache.")
  private Optional<Path> vectors = Optional.empty();

  /** Returns where a model's vectors are cached, if they are. */
  Optional<CachePlace> place(Path model, Optional<Path> adapter) {
    Subcommand.requireOneAtMost(command, "--no-cache", "--vectors");
    Subcommand.requireOneAtMost(command, "--no-cache", "--storage");
    Subcommand.requireOneAtMost(command, "--storage", "--vectors");
    if (none) {
      return Optional.empty();
    }
    CachePlace place =
        CachePlace.of(directory.orElseGet(CacheOptions::ofUser), model, adapter)
            .withStorage(storage);
    return Optional.of(vectors.map(place::withPassages).orElse(place));
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
