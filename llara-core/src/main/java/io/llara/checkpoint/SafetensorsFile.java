package io.llara.checkpoint;

import io.llara.ModelLoadException;
import io.llara.io.Messages;
import java.nio.file.Path;
import java.util.Map;

/**
 * The table of contents of a <a
 * href="https://github.com/huggingface/safetensors#format">safetensors</a> file. Opening reads and
 * checks the header only; no file handle stays open, and no bytes are mapped. Immutable and
 * thread-safe.
 *
 * <p>The header is untrusted: its length, its JSON, every type, shape and offset are checked before
 * anything is allocated for them, and tensors must neither overlap nor leave gaps.
 */
public final class SafetensorsFile {
  private final Path path;
  private final SafetensorsHeader header;

  private SafetensorsFile(Path path, SafetensorsHeader header) {
    this.path = path;
    this.header = header;
  }

  /**
   * Reads and checks the header of a file.
   *
   * @throws ModelLoadException if the file cannot be read or is damaged; the message names the
   *     tensor
   */
  public static SafetensorsFile open(Path path) {
    return new SafetensorsFile(path, SafetensorsHeader.read(path));
  }

  /** Returns the file. */
  public Path path() {
    return path;
  }

  /** Returns all tensors by name, in the order of the header; unmodifiable. */
  public Map<String, TensorEntry> entries() {
    return header.entries();
  }

  /** Returns the free-form {@code __metadata__} of the file, in its order; unmodifiable. */
  public Map<String, String> metadata() {
    return header.metadata();
  }

  /**
   * Returns the entry of a tensor.
   *
   * @throws ModelLoadException if the file has none of that name
   */
  public TensorEntry entry(String name) {
    TensorEntry entry = header.entries().get(name);
    if (entry == null) {
      throw new ModelLoadException(
          "%s: has no tensor %s; it holds %d others"
              .formatted(path, Messages.quote(name), header.entries().size()));
    }
    return entry;
  }

  /**
   * Returns the shape of a tensor.
   *
   * @throws ModelLoadException if the file has none of that name
   */
  public long[] shape(String name) {
    return entry(name).shape();
  }

  /**
   * Reads a tensor of type F32, F16 or BF16 as floats, row-major.
   *
   * @throws ModelLoadException if there is none of that name and type, or the file cannot be read
   * @see TensorEntry#readFloats()
   */
  public float[] readFloats(String name) {
    return entry(name).readFloats();
  }

  /**
   * Reads a tensor of type F64, F32, F16 or BF16 as doubles, row-major.
   *
   * @throws ModelLoadException if there is none of that name and type, or the file cannot be read
   * @see TensorEntry#readDoubles()
   */
  public double[] readDoubles(String name) {
    return entry(name).readDoubles();
  }
}
