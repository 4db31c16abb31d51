package io.llara.tokenize;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import com.google.common.primitives.ImmutableIntArray;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import java.nio.file.Path;
import java.util.Set;
import org.jspecify.annotations.Nullable;

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

  private static final ImmutableMap<String, String> LIST_KEYS =
      ImmutableMap.of(
          "normalizer", "normalizers",
          "pre_tokenizer", "pretokenizers",
          "decoder", "decoders",
          "post_processor", "processors");

  /** A text must not grow without bound on its way, or the native library runs out of memory. */
  private static final double MOST_GROWTH = 256;

  private final Path file;
  private double growth = 1;

  PipelineCheck(Path file) {
    this.file = file;
  }

  void normalizer(@Nullable JsonElement component) {
    check(component, "normalizer", NORMALIZERS);
    if (growth > MOST_GROWTH) {
      throw new UnsupportedModelException(
          file + ": the normalizer may make a text " + growth + " times as long");
    }
  }

  void preTokenizer(@Nullable JsonElement component) {
    check(component, "pre_tokenizer", PRE_TOKENIZERS);
  }

  void decoder(@Nullable JsonElement component) {
    check(component, "decoder", DECODERS);
  }

  /** Returns the ids that the post-processor puts before a text. */
  ImmutableIntArray postProcessor(@Nullable JsonElement component) {
    if (component == null || component.isJsonNull()) {
      return ImmutableIntArray.of();
    }
    JsonObject processor = object(component, "post_processor");
    switch (type(processor, "post_processor", POST_PROCESSORS)) {
      case "TemplateProcessing":
        return templateBegin(processor);
      case "Sequence":
        ImmutableIntArray before = ImmutableIntArray.of();
        for (JsonElement part : list(processor, "processors", "post_processor")) {
          // Each goes around what the ones before it made.
          before = ImmutableIntArray.builder().addAll(postProcessor(part)).addAll(before).build();
        }
        return before;
      default:
        return ImmutableIntArray.of();
    }
  }

  private ImmutableIntArray templateBegin(JsonObject template) {
    JsonObject special = object(template.get("special_tokens"), "post_processor.special_tokens");
    ImmutableIntArray.Builder before = ImmutableIntArray.builder();
    for (JsonElement piece : list(template, "single", "post_processor")) {
      JsonObject object = object(piece, "a piece of post_processor.single");
      if (object.has("Sequence")) {
        return before.build();
      }
      JsonObject reference = object(object.get("SpecialToken"), "a piece of post_processor.single");
      String name = string(reference.get("id"), "a SpecialToken of post_processor.single");
      JsonObject token = object(special.get(name), "post_processor.special_tokens[" + name + "]");
      for (JsonElement id : list(token, "ids", "post_processor.special_tokens[" + name + "]")) {
        before.add(id(id, "an id of post_processor.special_tokens[" + name + "]"));
      }
    }
    throw new ModelLoadException(file + ": post_processor.single has no place for the text");
  }

  private void check(@Nullable JsonElement component, String key, Set<String> known) {
    if (component == null || component.isJsonNull()) {
      return;
    }
    JsonObject object = object(component, key);
    switch (type(object, key, known)) {
      case "Sequence":
        for (JsonElement part : list(object, LIST_KEYS.getOrDefault(key, key), key)) {
          check(object(part, "a part of " + key), key, known);
        }
        break;
      case "NFD", "NFKD", "NFKC":
        growth *= 18; // U+FDFA, the longest decomposition in Unicode
        break;
      case "Replace":
        replacement(object, key);
        break;
      case "Split":
        pattern(object, key);
        break;
      case "Strip":
        // The native decoder reads out of bounds when it strips an end from a shorter token.
        if (key.equals("decoder") && !new JsonPrimitive(0).equals(object.get("stop"))) {
          throw new UnsupportedModelException(
              file + ": decoder Strip has stop " + object.get("stop") + "; only 0 is supported");
        }
        break;
      default:
        break;
    }
  }

  private void replacement(JsonObject replace, String key) {
    int content = string(replace.get("content"), key + ".content").length();
    int pattern = pattern(replace, key);
    growth *= Math.max(1, pattern > 0 ? (double) content / pattern : content + 1);
  }

  /** Returns the least number of characters that the pattern matches. */
  private int pattern(JsonObject component, String key) {
    JsonObject pattern = object(component.get("pattern"), key + ".pattern");
    if (pattern.has("String")) {
      return string(pattern.get("String"), key + ".pattern.String").length();
    }
    String regex = string(pattern.get("Regex"), key + ".pattern.Regex");
    if (!isTame(regex)) {
      throw new UnsupportedModelException(
          file
              + ": the regular expression of "
              + key
              + " repeats a group or refers back, which can take forever: "
              + regex);
    }
    return 0;
  }

  /**
   * Whether a regular expression neither repeats groups nor refers back to them or calls them. The
   * native library panics when a search takes too many steps, and these are what makes steps
   * exponential.
   */
  static boolean isTame(String regex) {
    int classDepth = 0;
    for (int i = 0; i < regex.length(); i++) {
      char c = regex.charAt(i);
      char following = i + 1 < regex.length() ? regex.charAt(i + 1) : ' ';
      if (c == '\\') {
        if (classDepth == 0 && "123456789gkX".indexOf(following) >= 0) {
          return false;
        }
        i++;
      } else if (c == '[') {
        classDepth++;
      } else if (c == ']' && classDepth > 0) {
        classDepth--;
      } else if (c == ')' && classDepth == 0 && "*+{".indexOf(following) >= 0) {
        return false;
      }
    }
    return true;
  }

  private String type(JsonObject component, String key, Set<String> known) {
    String type = string(component.get("type"), key + ".type");
    if (!known.contains(type)) {
      throw new UnsupportedModelException(
          file + ": " + key + " is of type " + type + "; supported are " + known);
    }
    return type;
  }

  private JsonObject object(@Nullable JsonElement element, String where) {
    if (element instanceof JsonObject object) {
      return object;
    }
    throw wrong(where, "an object", element);
  }

  private JsonArray list(JsonObject parent, String key, String where) {
    if (parent.get(key) instanceof JsonArray array) {
      return array;
    }
    throw wrong(where + "." + key, "a list", parent.get(key));
  }

  private String string(@Nullable JsonElement element, String where) {
    if (element instanceof JsonPrimitive primitive && primitive.isString()) {
      return primitive.getAsString();
    }
    throw wrong(where, "a string", element);
  }

  private int id(JsonElement element, String where) {
    if (element instanceof JsonPrimitive primitive
        && primitive.isNumber()
        && primitive.getAsString().matches("[0-9]{1,9}")) {
      return primitive.getAsInt();
    }
    throw wrong(where, "a token id", element);
  }

  private ModelLoadException wrong(String where, String expected, @Nullable JsonElement found) {
    String shown = found == null ? "missing" : found instanceof JsonNull ? "null" : brief(found);
    return new ModelLoadException(file + ": " + where + " is " + shown + ", expected " + expected);
  }

  private static String brief(JsonElement element) {
    String text = element.toString();
    return text.length() <= 80 ? text : text.substring(0, 80) + "…";
  }
}
