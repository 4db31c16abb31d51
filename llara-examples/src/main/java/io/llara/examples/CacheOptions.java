package io.llara.examples;

import io.llara.retrieval.CorpusVectors.CachePlace;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Where a command keeps vectors. */
final class CacheOptions {
  @Option(
      names = "--cache",
      paramLabel = "DIR",
      description = "Where vectors are kept; by default $XDG_CACHE_HOME/llara or ~/.cache/llara.")
  private @Nullable Path directory;

  @Option(names = "--no-cache", description = "Neither use nor keep vectors.")
  private boolean none;

  /** Returns where a model's vectors are kept, if they are. */
  Optional<CachePlace> place(Path model, Optional<Path> adapter) {
    if (none) {
      return Optional.empty();
    }
    Path place = directory == null ? UserCache.directory() : directory;
    return Optional.of(CachePlace.of(place, model, adapter));
  }
}
