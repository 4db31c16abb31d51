package io.llara.checkpoint.gguf;

import com.google.common.collect.ImmutableMap;
import com.google.gson.JsonElement;
import io.llara.io.StrictJson;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The ways to cut a text before byte-pair encoding that a GGUF file may name in {@code
 * tokenizer.ggml.pre}, and how a tokenizer.json says the same. Each step cuts the pieces of the
 * step before; what an expression does not match stays a piece of its own.
 */
enum GgufPreTokenizer {
  /** llama.cpp's choice for files that name none. */
  DEFAULT(
      false,
      false,
      List.of("[\\p{P}\\$\\+<=>\\^~\\|]+", Expressions.GPT2, "\\p{N}+", "[0-9][0-9][0-9]"),
      "default"),
  /** GPT-2's. */
  GPT2(
      false,
      false,
      List.of(Expressions.GPT2),
      "gpt-2",
      "gpt2",
      "phi-2",
      "mpt",
      "olmo",
      "jais",
      "trillion",
      "mellum",
      "granite-docling"),
  /** GPT-2's, after every digit is cut off. */
  DIGITS(
      false,
      false,
      List.of("\\p{N}", Expressions.GPT2),
      "smollm",
      "starcoder",
      "refact",
      "command-r",
      "codeshell",
      "exaone",
      "minerva-7b"),
  /** LLaMA 3's; a piece that is a token is not put together by merges, and BOS comes first. */
  LLAMA3(
      true,
      true,
      List.of(Expressions.llama3("{1,3}")),
      "llama-bpe",
      "llama3",
      "llama-v3",
      "falcon3",
      "pixtral"),
  /** The expression of LLaMA 3 alone. */
  LLAMA3_MERGED(false, false, List.of(Expressions.llama3("{1,3}")), "smaug-bpe", "dbrx"),
  /** As LLaMA 3's, with one digit at a time. */
  QWEN2(
      false,
      false,
      List.of(Expressions.llama3("")),
      "qwen2",
      "stablelm2",
      "deepseek-r1-qwen",
      "megrez"),
  /** Falcon's. */
  FALCON(
      false,
      false,
      List.of("[\\p{P}\\$\\+<=>\\^~\\|`]+", Expressions.GPT2, "[0-9][0-9][0-9]"),
      "falcon"),
  /** DeepSeek Coder's. */
  DEEPSEEK_CODER(
      false,
      false,
      List.of(
          "[\\r\\n]",
          "\\s?\\p{L}+",
          "\\s?\\p{P}+",
          "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
          "\\p{N}"),
      "deepseek-coder");

  private final boolean ignoresMerges;
  private final boolean addsBos;
  private final List<String> expressions;
  private final List<String> spellings;

  GgufPreTokenizer(
      boolean ignoresMerges, boolean addsBos, List<String> expressions, String... spellings) {
    this.ignoresMerges = ignoresMerges;
    this.addsBos = addsBos;
    this.expressions = expressions;
    this.spellings = List.of(spellings);
  }

  /** Expressions that several share. */
  private static final class Expressions {
    static final String GPT2 =
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

    private Expressions() {}

    static String llama3(String digits) {
      return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
          + digits
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    }
  }

  /** Returns whether a piece that is a token is taken as it is. */
  boolean ignoresMerges() {
    return ignoresMerges;
  }

  /** Returns whether BOS goes before a text unless the file says otherwise. */
  boolean addsBos() {
    return addsBos;
  }

  /** Returns the one that a file means by a name. */
  static Optional<GgufPreTokenizer> named(String name) {
    for (GgufPreTokenizer one : values()) {
      if (one.spellings.contains(name)) {
        return Optional.of(one);
      }
    }
    return Optional.empty();
  }

  /** Returns all names that are known. */
  static String names() {
    List<String> names = new ArrayList<>();
    for (GgufPreTokenizer one : values()) {
      names.addAll(one.spellings);
    }
    return String.join(", ", names);
  }

  /** Returns the {@code pre_tokenizer} of a tokenizer.json. */
  JsonElement toJson() {
    List<Object> steps = new ArrayList<>();
    for (String expression : expressions) {
      steps.add(
          ImmutableMap.of(
              "type",
              "Split",
              "pattern",
              ImmutableMap.of("Regex", expression),
              "behavior",
              "Isolated",
              "invert",
              false));
    }
    steps.add(byteLevel(false));
    return StrictJson.tree(ImmutableMap.of("type", "Sequence", "pretokenizers", steps));
  }

  /** Returns the component that writes bytes as printable characters, or the way back. */
  static JsonElement byteLevel(boolean cutting) {
    return StrictJson.tree(
        ImmutableMap.of(
            "type",
            "ByteLevel",
            "add_prefix_space",
            false,
            "trim_offsets",
            true,
            "use_regex",
            cutting));
  }
}
