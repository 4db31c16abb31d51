package io.llara;

import static java.util.Objects.requireNonNull;

import io.llara.checkpoint.gguf.GgufImporter;
import io.llara.hub.Hub;
import io.llara.hub.HubId;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.Function;

/**
 * Where a model comes from: a directory, a GGUF file, or the Hugging Face hub.
 *
 * <p>Models of the hub are kept in the cache that its Python client keeps, so that either finds
 * what the other downloaded, and the client's environment variables are obeyed: {@code
 * HF_HUB_CACHE} and {@code HF_HOME} (where the cache is; {@code ~/.cache/huggingface} by default),
 * {@code HF_TOKEN} (sent to the hub, never to where it redirects to), {@code HF_ENDPOINT} (another
 * hub) and {@code HF_HUB_OFFLINE} (1: nothing but the cache is asked).
 *
 * <pre>{@code
 * Encoder encoder = Encoder.load(ModelSource.hub("BAAI/LLARA-passage"));
 * }</pre>
 *
 * Immutable and thread-safe.
 */
public final class ModelSource {
  private final String name;
  private final String place;
  private final Function<ProgressListener, Path> resolution;

  private ModelSource(String name, String place, Function<ProgressListener, Path> resolution) {
    this.name = name;
    this.place = place;
    this.resolution = resolution;
  }

  /** Returns the source of a model that lies in a directory, or in a GGUF file. */
  public static ModelSource directory(Path dir) {
    requireNonNull(dir, "dir");
    Path name = dir.toAbsolutePath().normalize().getFileName();
    return new ModelSource(
        name == null ? dir.toString() : name.toString(), dir.toString(), progress -> dir);
  }

  /**
   * Returns the source of a model of the hub. Only weights in safetensors are downloaded.
   *
   * @param id {@code owner/name}, or {@code owner/name@revision} with a branch, a tag or a commit;
   *     without one it is {@code main}
   * @throws IllegalArgumentException if the name has another form
   */
  public static ModelSource hub(String id) {
    return hub(id, System.getenv());
  }

  static ModelSource hub(String id, Map<String, String> environment) {
    HubId parsed =
        HubId.parse(id)
            .orElseThrow(
                () ->
                    new IllegalArgumentException(
                        "the model of the hub is '%s'; expected owner/name or owner/name@revision"
                            .formatted(id)));
    return new ModelSource(
        id, id, progress -> new Hub(environment).snapshot(parsed, progress::progress));
  }

  /**
   * Returns the source that a command's argument means: a directory if there is one or the argument
   * has not the form of a name of the hub, a GGUF file if it ends in {@code .gguf}, else a model of
   * the hub.
   */
  public static ModelSource of(Path argument) {
    String name = argument.toString().replace(File.separatorChar, '/');
    return Files.exists(argument) || GgufImporter.isGguf(argument) || HubId.parse(name).isEmpty()
        ? directory(argument)
        : hub(name);
  }

  /**
   * Returns the directory of the model, with its files in it, or its GGUF file. Of a model of the
   * hub all that is missing in the cache is downloaded, each file checked against its hash; an
   * interrupted download goes on where it ended.
   *
   * @throws ModelLoadException if there is no such model or revision on the hub, access to it is
   *     refused, a file is damaged, or the hub cannot be reached and the cache does not have it
   * @throws UnsupportedModelException if its weights are in no safetensors files
   * @throws LlaraException if this thread is interrupted
   */
  public Path resolve() {
    return resolve((done, total) -> {});
  }

  /**
   * Returns the directory as {@link #resolve()}.
   *
   * @param progress hears how many bytes are here of the weights that were missing, on this thread;
   *     nothing if none were
   */
  public Path resolve(ProgressListener progress) {
    return resolution.apply(requireNonNull(progress, "progress"));
  }

  /** Returns what answers and meters call the model: its name on the hub or its directory's own. */
  public String name() {
    return name;
  }

  /** Returns the name of the model on the hub, or the path of its directory. */
  @Override
  public String toString() {
    return place;
  }
}
