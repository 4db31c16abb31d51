package io.llara.checkpoint;

import com.google.common.collect.ImmutableSet;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.TextModes;
import io.llara.UnsupportedModelException;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import io.llara.prompt.PromptTemplate;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * What a checkpoint was trained with: the content of a {@code llara.json} beside its {@code
 * config.json}. The schema is in {@code docs/llara-json.md}. Immutable.
 *
 * @param template the prompt recipe, pooling included
 * @param normalize whether embeddings are scaled to length 1
 * @param maxQueryTokens the longest query prompt trained on, in tokens, if known
 * @param maxPassageTokens the longest passage prompt trained on, in tokens, if known
 * @param modes the modes that queries and passages are embedded in
 * @param dimension how many components of an embedding are kept, where not all are
 * @param dense the linear layer behind the pooling, if there is one
 */
public record LlaraJson(
    PromptTemplate template,
    boolean normalize,
    OptionalInt maxQueryTokens,
    OptionalInt maxPassageTokens,
    TextModes modes,
    OptionalInt dimension,
    Optional<DenseLayer.Location> dense) {
  /** The name of the file. */
  public static final String FILE_NAME = "llara.json";

  /** The version written, and the newest one read. */
  public static final int FORMAT_VERSION = 1;

  private static final String VERSION = "formatVersion";
  private static final String TEMPLATE = "template";
  private static final String POOLING = "pooling";
  private static final String NORMALIZE = "normalize";
  private static final String MAX_TOKENS = "maxTokens";
  private static final String MODES = "modes";
  private static final String DIMENSION = "dimension";
  private static final String DENSE = "dense";
  private static final String QUERY = "query";
  private static final String PASSAGE = "passage";
  private static final ImmutableSet<String> KEYS =
      ImmutableSet.of(VERSION, TEMPLATE, POOLING, NORMALIZE, MAX_TOKENS, MODES, DIMENSION, DENSE);

  /**
   * Checks the lengths.
   *
   * @throws IllegalArgumentException if one is below 1
   */
  public LlaraJson {
    Objects.requireNonNull(template, TEMPLATE);
    requirePositive(MAX_TOKENS + "." + QUERY, maxQueryTokens);
    requirePositive(MAX_TOKENS + "." + PASSAGE, maxPassageTokens);
    Objects.requireNonNull(modes, MODES);
    requirePositive(DIMENSION, dimension);
    Objects.requireNonNull(dense, DENSE);
  }

  /** Describes a checkpoint whose embeddings keep all their components. */
  public LlaraJson(
      PromptTemplate template,
      boolean normalize,
      OptionalInt maxQueryTokens,
      OptionalInt maxPassageTokens,
      TextModes modes) {
    this(
        template,
        normalize,
        maxQueryTokens,
        maxPassageTokens,
        modes,
        OptionalInt.empty(),
        Optional.empty());
  }

  /** Describes one whose queries are embedded as NEXT and its passages as SELF, too. */
  public LlaraJson(
      PromptTemplate template,
      boolean normalize,
      OptionalInt maxQueryTokens,
      OptionalInt maxPassageTokens) {
    this(template, normalize, maxQueryTokens, maxPassageTokens, TextModes.N2S);
  }

  /** Returns these settings with another number of components. */
  LlaraJson withDimension(OptionalInt components) {
    return new LlaraJson(
        template, normalize, maxQueryTokens, maxPassageTokens, modes, components, dense);
  }

  /** Returns these settings with another linear layer behind the pooling. */
  public LlaraJson withDense(Optional<DenseLayer.Location> layer) {
    return new LlaraJson(
        template, normalize, maxQueryTokens, maxPassageTokens, modes, dimension, layer);
  }

  /**
   * Reads a file.
   *
   * @throws ModelLoadException if it cannot be read, or a key is unknown, missing or wrong
   * @throws UnsupportedModelException if its format version is newer than {@link #FORMAT_VERSION}
   */
  public static LlaraJson read(Path file) {
    JsonSection json = StrictJson.modelFile(file);
    // The version first: in a newer one, unknown keys are to be expected.
    json.requireVersion(VERSION, FORMAT_VERSION);
    json.refuseUnknownKeys(KEYS);
    PromptTemplate template = readTemplate(json);
    checkPooling(json, template);
    Optional<JsonSection> lengths = json.section(MAX_TOKENS);
    lengths.ifPresent(section -> section.refuseUnknownKeys(ImmutableSet.of(QUERY, PASSAGE)));
    try {
      return new LlaraJson(
          template,
          json.bool(NORMALIZE).orElse(true),
          lengths.map(section -> section.optionalInt(QUERY)).orElse(OptionalInt.empty()),
          lengths.map(section -> section.optionalInt(PASSAGE)).orElse(OptionalInt.empty()),
          readModes(json),
          json.optionalInt(DIMENSION),
          json.string(DENSE).map(name -> readDense(json, name)));
    } catch (IllegalArgumentException e) {
      throw new ModelLoadException("%s: %s".formatted(file, e.getMessage()), e);
    }
  }

  /**
   * Returns the content of a file that {@link #read} turns into an equal value.
   *
   * @throws IllegalStateException if the linear layer is not {@link DenseLayer#FILE_NAME}
   */
  public String toJson() {
    JsonObject root = new JsonObject();
    root.addProperty(VERSION, FORMAT_VERSION);
    if (template.isKnown()) {
      root.addProperty(TEMPLATE, template.name());
    } else {
      root.add(TEMPLATE, JsonParser.parseString(template.toJson()));
    }
    root.addProperty(POOLING, spelled(template.pooling()));
    root.addProperty(NORMALIZE, normalize);
    if (maxQueryTokens.isPresent() || maxPassageTokens.isPresent()) {
      JsonObject lengths = new JsonObject();
      maxQueryTokens.ifPresent(tokens -> lengths.addProperty(QUERY, tokens));
      maxPassageTokens.ifPresent(tokens -> lengths.addProperty(PASSAGE, tokens));
      root.add(MAX_TOKENS, lengths);
    }
    if (modes != TextModes.N2S) {
      root.addProperty(MODES, modes.spelled());
    }
    dimension.ifPresent(components -> root.addProperty(DIMENSION, components));
    dense.ifPresent(
        layer -> {
          if (!layer.file().equals(DenseLayer.FILE_NAME)) {
            throw new IllegalStateException(
                "the linear layer is %s; beside a %s it is %s"
                    .formatted(layer.file(), FILE_NAME, DenseLayer.FILE_NAME));
          }
          root.addProperty(DENSE, spelled(layer.activation()));
        });
    return StrictJson.pretty(root);
  }

  /**
   * Writes the file into a directory, replacing one that is there. The name means the old content
   * or the new one at any moment.
   *
   * @throws LlaraException if it cannot be written
   */
  public void write(Path dir) {
    AtomicFiles.write(dir.resolve(FILE_NAME), toJson().getBytes(StandardCharsets.UTF_8));
  }

  private static TextModes readModes(JsonSection json) {
    String name = json.string(MODES).orElse(TextModes.N2S.spelled());
    return TextModes.byName(name)
        .orElseThrow(() -> json.invalid(MODES, Messages.quote(name), "n2s, s2s or n2n"));
  }

  private static DenseLayer.Location readDense(JsonSection json, String name) {
    return Arrays.stream(DenseLayer.Activation.values())
        .filter(activation -> spelled(activation).equals(name))
        .findFirst()
        .map(activation -> new DenseLayer.Location(DenseLayer.FILE_NAME, activation))
        .orElseThrow(() -> json.invalid(DENSE, Messages.quote(name), "linear or tanh"));
  }

  private static PromptTemplate readTemplate(JsonSection json) {
    if (json.isString(TEMPLATE)) {
      String name = json.string(TEMPLATE).orElseThrow();
      return PromptTemplate.byName(name)
          .orElseThrow(
              () ->
                  json.invalid(
                      TEMPLATE,
                      Messages.quote(name),
                      String.join(", ", PromptTemplate.names()) + ", or an object"));
    }
    JsonSection form =
        json.section(TEMPLATE).orElseThrow(() -> json.missing(TEMPLATE, "a name or an object"));
    try {
      return PromptTemplate.fromJson(form.json().toString());
    } catch (ModelLoadException e) {
      throw new ModelLoadException(
          "%s: key '%s': %s".formatted(json.place(), TEMPLATE, e.getMessage()), e);
    }
  }

  private static void checkPooling(JsonSection json, PromptTemplate template) {
    String expected = spelled(template.pooling());
    String found = json.string(POOLING).orElse(expected);
    if (!found.equals(expected)) {
      throw json.invalid(
          POOLING,
          Messages.quote(found),
          "'%s', which is what the template %s says".formatted(expected, template.name()));
    }
  }

  private static String spelled(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }

  private static void requirePositive(String key, OptionalInt value) {
    if (value.isPresent() && value.getAsInt() < 1) {
      throw new IllegalArgumentException(
          "%s is %d; expected 1 or more".formatted(key, value.getAsInt()));
    }
  }
}
