package io.llara;

import com.google.common.hash.Hashing;
import com.google.common.hash.HashingInputStream;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;

/**
 * Finds the model that is on the class path, and makes a directory of it for as long as it loads.
 */
final class BundledModels {
  private static final Pattern LINE = Pattern.compile("([0-9a-f]{64})  (\\w[\\w.-]*)");

  private BundledModels() {}

  /**
   * Returns the only model on the class path.
   *
   * @throws ModelLoadException if there is none or more than one
   */
  static BundledModel find() {
    List<BundledModel> models;
    try {
      models = list(ServiceLoader.load(BundledModel.class));
      if (models.isEmpty()) {
        // The thread's class loader may see less than ours: in a container, or none at all.
        models = list(ServiceLoader.load(BundledModel.class, Encoder.class.getClassLoader()));
      }
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
                      .map(BundledModels::describe)
                      .collect(Collectors.joining(" and "))));
    }
    return models.get(0);
  }

  private static List<BundledModel> list(ServiceLoader<BundledModel> loader) {
    return StreamSupport.stream(loader.spliterator(), false).toList();
  }

  private static String describe(BundledModel model) {
    var source = model.getClass().getProtectionDomain().getCodeSource();
    return source == null ? model.name() : "%s (%s)".formatted(model.name(), source.getLocation());
  }

  /** Copies a model's files, as {@link BundledModel#copyTo}. */
  static void copy(BundledModel model, Path dir) {
    for (String line : read(model, BundledModel.CHECKSUMS).lines().toList()) {
      Matcher matcher = LINE.matcher(line);
      if (!matcher.matches()) {
        throw new ModelLoadException(
            "%s: %s has the line %s; expected a SHA-256, two spaces and the name of a file"
                .formatted(model.name(), BundledModel.CHECKSUMS, Messages.quote(line)));
      }
      copy(model, matcher.group(2), matcher.group(1), dir);
    }
  }

  /**
   * Hands a directory with a model's files to a function, and deletes it.
   *
   * @throws ModelLoadException as {@link #copy} or as the function; messages have the model's name
   *     in place of the directory's
   */
  static <T> T with(BundledModel model, Function<Path, T> use) {
    try (TemporaryPath folder = TemporaryPath.folder("llara-model")) {
      try {
        model.copyTo(folder.path());
        return use.apply(folder.path());
      } catch (UnsupportedModelException e) {
        throw new UnsupportedModelException(named(e, folder.path(), model), e);
      } catch (ModelLoadException e) {
        throw new ModelLoadException(named(e, folder.path(), model), e);
      }
    }
  }

  private static String named(LlaraException e, Path folder, BundledModel model) {
    return String.valueOf(e.getMessage()).replace(folder.toString(), model.name());
  }

  private static String read(BundledModel model, String file) {
    try (InputStream in = model.open(file)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw unreadable(model, file, e);
    }
  }

  private static void copy(BundledModel model, String file, String expected, Path folder) {
    String found;
    try (HashingInputStream in = new HashingInputStream(Hashing.sha256(), model.open(file))) {
      Files.copy(in, folder.resolve(file));
      found = in.hash().toString();
    } catch (IOException e) {
      throw unreadable(model, file, e);
    }
    if (!found.equals(expected)) {
      throw new ModelLoadException(
          "%s: %s is damaged: its SHA-256 is %s; expected %s"
              .formatted(model.name(), file, found, expected));
    }
  }

  private static ModelLoadException unreadable(BundledModel model, String file, IOException e) {
    return new ModelLoadException(
        "%s: %s cannot be read: %s".formatted(model.name(), file, Messages.reason(e)), e);
  }
}
