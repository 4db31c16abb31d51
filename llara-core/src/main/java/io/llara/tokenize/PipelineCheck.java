package io.llara.tokenize;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import com.google.common.primitives.ImmutableIntArray;
import com.google.gson.JsonArray;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import java.util.List;
import java.util.Set;

/**
 * Checks the small parts of a tokenizer.json: normalizer, pre-tokenizer, post-processor, decoder.
 *
 * <p>The native library answers some wrong values with a panic, which ends the JVM. So only the
 * components that LLaMA-like tokenizers use pass here, with the values that are known to be safe;
 * everything else is refused by name. Wrong types within a component are left to the native
 * library, which reports them as errors.
 */
final class PipelineCheck {
  private static final ImmutableSet<String> NORMALIZERS =
      ImmutableSet.of(
          "Sequence",
          "Prepend",
          "Replace",
          "NFC",
          "NFD",
          "NFKC",
          "NFKD",
          "Lowercase",
          "Strip",
          "StripAccents");
  private static final ImmutableSet<String> PRE_TOKENIZERS =
      ImmutableSet.of(
          "Sequence",
          "Metaspace",
          "ByteLevel",
          "Split",
          "Digits",
          "Punctuation",
          "Whitespace",
          "WhitespaceSplit");
  private static final ImmutableSet<String> DECODERS =
      ImmutableSet.of(
          "Sequence", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace", "ByteLevel");
  private static final ImmutableSet<String> POST_PROCESSORS =
      ImmutableSet.of("Sequence", "TemplateProcessing", "ByteLevel");

  /** A part of the pipeline before or after the model. */
  private record Kind(Set<String> types, String partsKey) {}

  private static final Kind NORMALIZER = new Kind(NORMALIZERS, "normalizers");
  private static final Kind DECODER = new Kind(DECODERS, "decoders");
  private static final ImmutableMap<String, Kind> KINDS =
      ImmutableMap.of(
          "normalizer", NORMALIZER,
          "pre_tokenizer", new Kind(PRE_TOKENIZERS, "pretokenizers"),
          "decoder", DECODER);

  /** A text must not grow without bound on its way, or the native library runs out of memory. */
  private static final double MAX_GROWTH = 256;

  private double growth = 1;

  private PipelineCheck() {}

  /**
   * Checks the components of a tokenizer.json and returns the ids that its post-processor puts
   * before a text.
   *
   * @throws io.llara.ModelLoadException if one is of a wrong form
   * @throws io.llara.UnsupportedModelException if one is of a kind that is not supported
   */
  static ImmutableIntArray check(JsonSection tokenizer) {
    PipelineCheck check = new PipelineCheck();
    KINDS.forEach(
        (key, kind) ->
            tokenizer.section(key).ifPresent(component -> check.component(component, kind)));
    if (check.growth > MAX_GROWTH) {
      throw tokenizer.unsupported(
          "normalizer",
          "one that may make a text %s times as long".formatted(check.growth),
          "at most %s times".formatted(MAX_GROWTH));
    }
    return tokenizer
        .section("post_processor")
        .map(PipelineCheck::begin)
        .orElse(ImmutableIntArray.of());
  }

  /** Returns the ids that a post-processor puts before a text. */
  private static ImmutableIntArray begin(JsonSection processor) {
    switch (type(processor, POST_PROCESSORS)) {
      case "TemplateProcessing":
        return templateBegin(processor);
      case "Sequence":
        ImmutableIntArray before = ImmutableIntArray.of();
        for (JsonSection part : parts(processor, "processors")) {
          // Each goes around what the ones before it made.
          before = ImmutableIntArray.builder().addAll(begin(part)).addAll(before).build();
        }
        return before;
      default:
        return ImmutableIntArray.of();
    }
  }

  private static ImmutableIntArray templateBegin(JsonSection template) {
    JsonSection special = template.requiredSection("special_tokens");
    ImmutableIntArray.Builder before = ImmutableIntArray.builder();
    for (JsonSection piece : parts(template, "single")) {
      if (piece.mentions("Sequence")) {
        return before.build();
      }
      String name = piece.requiredSection("SpecialToken").requiredString("id");
      JsonSection token = special.requiredSection(name);
      if (!(token.json().get("ids") instanceof JsonArray)) {
        throw token.invalid("ids", token.describe("ids"), "a list");
      }
      token.integers("ids").forEach(before::add);
    }
    throw template.invalid("single", "a list with no place for the text", "a 'Sequence' in it");
  }

  private static List<JsonSection> parts(JsonSection component, String key) {
    return component.sections(key).orElseThrow(() -> component.missing(key, "a list"));
  }

  private void component(JsonSection component, Kind kind) {
    switch (type(component, kind.types())) {
      case "Sequence" -> parts(component, kind.partsKey()).forEach(part -> component(part, kind));
      case "NFD", "NFKD", "NFKC" -> growth *= 18; // U+FDFA, the longest decomposition in Unicode
      case "Replace" -> {
        int content = component.requiredString("content").length();
        int pattern = pattern(component);
        if (kind == NORMALIZER) {
          growth *= Math.max(1, pattern > 0 ? (double) content / pattern : content + 1);
        }
      }
      case "Split" -> pattern(component);
      case "Strip" -> {
        // The native decoder reads out of bounds when it strips an end from a shorter token.
        if (kind == DECODER && component.requiredInt("stop") != 0) {
          throw component.unsupported("stop", component.describe("stop"), "0");
        }
      }
      default -> {
        // Safe with any values: the native library reports wrong ones.
      }
    }
  }

  /** Returns the least number of characters that the pattern matches. */
  private static int pattern(JsonSection component) {
    JsonSection pattern = component.requiredSection("pattern");
    if (pattern.mentions("String")) {
      return pattern.requiredString("String").length();
    }
    String regex = pattern.requiredString("Regex");
    RegexSteps.problem(regex)
        .ifPresent(
            problem -> {
              throw pattern.unsupported(
                  "Regex",
                  "%s, which %s: it could take forever".formatted(Messages.quote(regex), problem),
                  "other expressions");
            });
    return 0;
  }

  private static String type(JsonSection component, Set<String> known) {
    String type = component.requiredString("type");
    if (!known.contains(type)) {
      throw component.unsupported("type", Messages.quote(type), String.join(", ", known));
    }
    return type;
  }
}
