package io.llara;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;

/**
 * A model in a jar. {@link Encoder#loadDefault} finds it with {@link java.util.ServiceLoader}; the
 * artifact {@code llara-mini} is one.
 *
 * <p>Its files are those of a model directory, weights included, and {@value #CHECKSUMS}, which
 * lists all others: one a line, its SHA-256 in hexadecimal digits, two spaces and its name.
 */
public interface BundledModel {
  /** The file that lists the others. */
  String CHECKSUMS = "SHA256SUMS";

  /** Returns what messages call the model, such as the name of its artifact. */
  String name();

  /**
   * Opens a file of the model; the caller closes it.
   *
   * @param file its name, without a folder
   * @throws IOException if there is no such file or it cannot be read
   */
  InputStream open(String file) throws IOException;

  /**
   * Returns the only model on the class path.
   *
   * @throws ModelLoadException if there is none, or more than one
   */
  static BundledModel find() {
    return BundledModels.find();
  }

  /**
   * Writes the model's files into a directory and checks them.
   *
   * @param dir an existing directory
   * @throws ModelLoadException if a file is missing, is not what {@value #CHECKSUMS} says, or
   *     cannot be written
   */
  default void copyTo(Path dir) {
    BundledModels.copy(this, dir);
  }
}
