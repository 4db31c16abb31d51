package io.llara.checkpoint.gguf;

import com.google.common.base.Splitter;
import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import io.llara.tokenize.BpeTokenizer;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * The ways to cut a text before byte-pair encoding that a GGUF file may name in {@code
 * tokenizer.ggml.pre}, and how a tokenizer.json says the same. Each step cuts the pieces of the
 * step before; what an expression does not match stays a piece of its own.
 */
enum GgufPreTokenizer {
  /** llama.cpp's choice for files that name none. */
  DEFAULT("default", "[\\p{P}\\$\\+<=>\\^~\\|]+", Expressions.GPT2, "\\p{N}+", "[0-9][0-9][0-9]"),
  GPT2("gpt-2 gpt2 phi-2 mpt olmo jais trillion mellum granite-docling", Expressions.GPT2),
  /** GPT-2's, after every digit is cut off. */
  DIGITS(
      "smollm starcoder refact command-r codeshell exaone minerva-7b", "\\p{N}", Expressions.GPT2),
  /** A piece that is a token is taken as it is, without merging, and BOS comes first. */
  LLAMA3("llama-bpe llama3 llama-v3 falcon3 pixtral", Expressions.llama3("{1,3}")),
  /** The expression of LLaMA 3 alone. */
  LLAMA3_MERGED("smaug-bpe dbrx", Expressions.llama3("{1,3}")),
  /** As LLaMA 3's, with one digit at a time. */
  QWEN2("qwen2 stablelm2 deepseek-r1-qwen megrez", Expressions.llama3("")),
  FALCON("falcon", "[\\p{P}\\$\\+<=>\\^~\\|`]+", Expressions.GPT2, "[0-9][0-9][0-9]"),
  DEEPSEEK_CODER(
      "deepseek-coder",
      "[\\r\\n]",
      "\\s?\\p{L}+",
      "\\s?\\p{P}+",
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      "\\p{N}");

  private final List<String> spellings;
  private final List<String> expressions;

  GgufPreTokenizer(String spellings, String... expressions) {
    this.spellings = Splitter.on(' ').splitToList(spellings);
    this.expressions = List.of(expressions);
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
    return this == LLAMA3;
  }

  /** Returns whether BOS goes before a text unless the file says otherwise. */
  boolean addsBos() {
    return this == LLAMA3;
  }

  /** Returns the one that a file means by a name. */
  static Optional<GgufPreTokenizer> named(String name) {
    return Arrays.stream(values()).filter(one -> one.spellings.contains(name)).findFirst();
  }

  /** Returns all names that are known. */
  static String names() {
    return Arrays.stream(values())
        .flatMap(one -> one.spellings.stream())
        .collect(Collectors.joining(", "));
  }

  /** Returns the {@code pre_tokenizer} of a tokenizer.json. */
  JsonElement toJson() {
    String split =
        "{\"type\": \"Split\", \"pattern\": {\"Regex\": %s}, \"behavior\": \"Isolated\","
            + " \"invert\": false}, ";
    String steps =
        expressions.stream()
            .map(expression -> split.formatted(new JsonPrimitive(expression)))
            .collect(Collectors.joining());
    return JsonParser.parseString(
        "{\"type\": \"Sequence\", \"pretokenizers\": [%s%s]}"
            .formatted(steps, BpeTokenizer.ByteLevel.component(false)));
  }
}
