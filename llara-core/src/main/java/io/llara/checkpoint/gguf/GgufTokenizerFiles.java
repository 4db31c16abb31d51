package io.llara.checkpoint.gguf;

import com.google.common.collect.ImmutableMap;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import io.llara.checkpoint.gguf.GgufVocabulary.Kind;
import io.llara.checkpoint.gguf.GgufVocabulary.Merge;
import io.llara.checkpoint.gguf.GgufVocabulary.TokenType;
import io.llara.io.AtomicFiles;
import io.llara.io.StrictJson;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/**
 * Writes the vocabulary of a GGUF file as Hugging Face's libraries and {@code
 * io.llara.tokenize.Tokenizer} read it: {@code tokenizer.json}, {@code tokenizer_config.json},
 * {@code special_tokens_map.json}.
 */
final class GgufTokenizerFiles {
  /** SentencePiece's sign for a space. */
  private static final String SPACE = "\u2581";

  private final GgufVocabulary vocabulary;

  GgufTokenizerFiles(GgufVocabulary vocabulary) {
    this.vocabulary = vocabulary;
  }

  /** Writes the three files into a directory. */
  void write(Path dir, int maxTokens) {
    AtomicFiles.writeJson(dir.resolve("tokenizer.json"), tokenizer());
    JsonObject names = names();
    AtomicFiles.writeJson(dir.resolve("special_tokens_map.json"), names);
    AtomicFiles.writeJson(dir.resolve("tokenizer_config.json"), settings(names, maxTokens));
  }

  /** The tokens that are not part of the text proper, in the order of their ids. */
  private IntStream addedIds() {
    return IntStream.range(0, vocabulary.size())
        .filter(id -> vocabulary.isSpecial(id) || vocabulary.type(id) == TokenType.USER_DEFINED);
  }

  private JsonObject names() {
    JsonObject names = new JsonObject();
    name(names, "bos_token", vocabulary.bosId());
    name(names, "eos_token", vocabulary.eosId());
    name(names, "unk_token", vocabulary.unknownId());
    name(names, "pad_token", vocabulary.paddingId());
    return names;
  }

  private void name(JsonObject names, String key, OptionalInt id) {
    id.ifPresent(known -> names.addProperty(key, vocabulary.token(known)));
  }

  private JsonObject settings(JsonObject names, int maxTokens) {
    JsonObject settings = new JsonObject();
    JsonObject added = new JsonObject();
    addedIds().forEach(id -> added.add(Integer.toString(id), describe(id)));
    settings.addProperty("add_bos_token", vocabulary.addsBos());
    settings.addProperty("add_eos_token", vocabulary.addsEos());
    settings.add("added_tokens_decoder", added);
    names.asMap().forEach(settings::add);
    vocabulary
        .chatTemplate()
        .ifPresent(template -> settings.addProperty("chat_template", template));
    settings.addProperty("clean_up_tokenization_spaces", false);
    settings.addProperty("model_max_length", maxTokens);
    // The class that takes a tokenizer.json as it is; others rebuild parts of it.
    settings.addProperty("tokenizer_class", "PreTrainedTokenizerFast");
    return settings;
  }

  private JsonObject describe(int id) {
    JsonObject token = new JsonObject();
    token.addProperty("content", vocabulary.token(id));
    for (String no : List.of("single_word", "lstrip", "rstrip", "normalized")) {
      token.addProperty(no, false);
    }
    token.addProperty("special", vocabulary.isSpecial(id));
    return token;
  }

  private JsonObject tokenizer() {
    boolean sentencePiece = vocabulary.kind() == Kind.LLAMA;
    JsonArray added = new JsonArray();
    addedIds()
        .forEach(
            id -> {
              JsonObject token = new JsonObject();
              token.addProperty("id", id);
              describe(id).asMap().forEach(token::add);
              added.add(token);
            });
    JsonObject json = new JsonObject();
    json.addProperty("version", "1.0");
    json.add("truncation", JsonNull.INSTANCE);
    json.add("padding", JsonNull.INSTANCE);
    json.add("added_tokens", added);
    json.add("normalizer", sentencePiece ? normalizer() : JsonNull.INSTANCE);
    json.add(
        "pre_tokenizer",
        vocabulary
            .preTokenizer()
            .<JsonElement>map(GgufPreTokenizer::toJson)
            .orElse(JsonNull.INSTANCE));
    json.add("post_processor", postProcessor());
    json.add("decoder", sentencePiece ? decoder() : GgufPreTokenizer.byteLevel(true));
    json.add("model", model());
    return json;
  }

  private JsonElement normalizer() {
    List<Object> steps = new ArrayList<>();
    if (vocabulary.addsSpace()) {
      steps.add(ImmutableMap.of("type", "Prepend", "prepend", SPACE));
    }
    steps.add(replace(" ", SPACE));
    return StrictJson.tree(ImmutableMap.of("type", "Sequence", "normalizers", steps));
  }

  private JsonElement decoder() {
    List<Object> steps = new ArrayList<>();
    steps.add(replace(SPACE, " "));
    steps.add(ImmutableMap.of("type", "ByteFallback"));
    steps.add(ImmutableMap.of("type", "Fuse"));
    if (vocabulary.addsSpace()) {
      steps.add(ImmutableMap.of("type", "Strip", "content", " ", "start", 1, "stop", 0));
    }
    return StrictJson.tree(ImmutableMap.of("type", "Sequence", "decoders", steps));
  }

  private static Map<String, Object> replace(String text, String replacement) {
    return ImmutableMap.of(
        "type", "Replace", "pattern", ImmutableMap.of("String", text), "content", replacement);
  }

  /** What goes around a text: BOS and EOS where the file asks for them. */
  private JsonElement postProcessor() {
    if (!vocabulary.addsBos() && !vocabulary.addsEos()) {
      return JsonNull.INSTANCE;
    }
    ImmutableMap.Builder<String, Object> special = ImmutableMap.builder();
    List<Object> pair = new ArrayList<>();
    List<Object> single = List.of();
    for (int part = 0; part < 2; part++) {
      if (vocabulary.addsBos()) {
        pair.add(reference(special, vocabulary.bosId().orElseThrow(), part));
      }
      pair.add(
          ImmutableMap.of(
              "Sequence", ImmutableMap.of("id", part == 0 ? "A" : "B", "type_id", part)));
      if (vocabulary.addsEos()) {
        pair.add(reference(special, vocabulary.eosId().orElseThrow(), part));
      }
      if (part == 0) {
        single = List.copyOf(pair);
      }
    }
    return StrictJson.tree(
        ImmutableMap.of(
            "type",
            "TemplateProcessing",
            "single",
            single,
            "pair",
            pair,
            "special_tokens",
            special.buildKeepingLast()));
  }

  private Object reference(ImmutableMap.Builder<String, Object> special, int id, int part) {
    String name = vocabulary.token(id);
    special.put(name, ImmutableMap.of("id", name, "ids", List.of(id), "tokens", List.of(name)));
    return ImmutableMap.of("SpecialToken", ImmutableMap.of("id", name, "type_id", part));
  }

  private JsonObject model() {
    boolean sentencePiece = vocabulary.kind() == Kind.LLAMA;
    JsonObject ids = new JsonObject();
    IntStream.range(0, vocabulary.size()).forEach(id -> ids.addProperty(vocabulary.token(id), id));
    JsonObject json = new JsonObject();
    json.addProperty("type", "BPE");
    json.add("dropout", JsonNull.INSTANCE);
    json.addProperty(
        "unk_token",
        sentencePiece && vocabulary.unknownId().isPresent()
            ? vocabulary.token(vocabulary.unknownId().getAsInt())
            : null);
    json.add("continuing_subword_prefix", JsonNull.INSTANCE);
    json.add("end_of_word_suffix", JsonNull.INSTANCE);
    json.addProperty("fuse_unk", sentencePiece);
    json.addProperty("byte_fallback", vocabulary.hasByteTokens());
    json.addProperty(
        "ignore_merges",
        vocabulary.preTokenizer().map(GgufPreTokenizer::ignoresMerges).orElse(false));
    json.add("vocab", ids);
    json.add("merges", merges());
    return json;
  }

  /** Merges as "left right", which all readers know, or as pairs if a token has a space. */
  private JsonArray merges() {
    boolean asPairs =
        vocabulary.merges().stream().anyMatch(merge -> (left(merge) + right(merge)).contains(" "));
    JsonArray merges = new JsonArray();
    for (Merge merge : vocabulary.merges()) {
      if (asPairs) {
        merges.add(StrictJson.tree(List.of(left(merge), right(merge))));
      } else {
        merges.add(left(merge) + " " + right(merge));
      }
    }
    return merges;
  }

  private String left(Merge merge) {
    return vocabulary.token(merge.left());
  }

  private String right(Merge merge) {
    return vocabulary.token(merge.right());
  }
}
