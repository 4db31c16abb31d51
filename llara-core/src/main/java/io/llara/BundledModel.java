package io.llara;

import io.llara.io.Messages;
import io.llara.io.Services;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;

/**
 * A model in a jar. {@link Encoder#loadDefault} finds it with {@link java.util.ServiceLoader}; the
 * artifact {@code llara-mini} is one.
 *
 * <p>Its files are those of a model directory, weights included, and {@value #CHECKSUMS}, which
 * lists all others: one a line, its CRC-32 in eight hexadecimal digits, two spaces and its name. It
 * finds damage, not forgery, which could change the list as well; a SHA-256 of the weights took
 * longer than to read and use them.
 */
public interface BundledModel {
  /** The file that lists the others. */
  String CHECKSUMS = "CRC32SUMS";

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
    List<BundledModel> models;
    try {
      models = Services.find(BundledModel.class);
    } catch (ServiceConfigurationError e) {
      throw new ModelLoadException("the default model cannot be loaded: " + e.getMessage(), e);
    }
    if (models.isEmpty()) {
      throw new ModelLoadException(
          "no default model is on the class path: add the dependency io.llara:llara-mini, or load a model by its directory");
    }
    if (models.size() > 1) {
      throw new ModelLoadException(
          "more than one default model is on the class path: %s; keep one of them, or load a model by its directory"
              .formatted(
                  models.stream()
                      .map(BundledModel::describe)
                      .collect(Collectors.joining(" and "))));
    }
    return models.get(0);
  }

  private static String describe(BundledModel model) {
    var source = model.getClass().getProtectionDomain().getCodeSource();
    return source == null ? model.name() : "%s (%s)".formatted(model.name(), source.getLocation());
  }

  /**
   * Writes the model's files into a directory and checks them.
   *
   * @param dir an existing directory
   * @throws ModelLoadException if a file is missing, is not what {@value #CHECKSUMS} says, or
   *     cannot be written
   */
  default void copyTo(Path dir) {
    Pattern format = Pattern.compile("([0-9a-f]{8})  (\\w[\\w.-]*)");
    String list;
    try (InputStream in = open(CHECKSUMS)) {
      list = new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw unreadable(this, CHECKSUMS, e);
    }
    for (String line : list.lines().toList()) {
      Matcher matcher = format.matcher(line);
      if (!matcher.matches()) {
        throw new ModelLoadException(
            "%s: %s has the line %s; expected a CRC-32, two spaces and the name of a file"
                .formatted(name(), CHECKSUMS, Messages.quote(line)));
      }
      copy(this, matcher.group(2), matcher.group(1), dir);
    }
  }

  private static void copy(BundledModel model, String file, String expected, Path folder) {
    CRC32 checksum = new CRC32();
    try (InputStream in = new CheckedInputStream(model.open(file), checksum);
        OutputStream out = Files.newOutputStream(folder.resolve(file))) {
      byte[] buffer = new byte[1 << 20];
      for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
        out.write(buffer, 0, count);
      }
    } catch (IOException e) {
      throw unreadable(model, file, e);
    }
    String found = "%08x".formatted(checksum.getValue());
    if (!found.equals(expected)) {
      throw new ModelLoadException(
          "%s: %s is damaged: its CRC-32 is %s; expected %s"
              .formatted(model.name(), file, found, expected));
    }
  }

  private static ModelLoadException unreadable(BundledModel model, String file, IOException e) {
    return new ModelLoadException(
        "%s: %s cannot be read: %s".formatted(model.name(), file, Messages.reason(e)), e);
  }
}
