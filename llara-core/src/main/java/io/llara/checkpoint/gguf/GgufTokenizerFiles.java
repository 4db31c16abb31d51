package io.llara.checkpoint.gguf;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import io.llara.checkpoint.gguf.GgufVocabulary.Kind;
import io.llara.checkpoint.gguf.GgufVocabulary.Merge;
import io.llara.checkpoint.gguf.GgufVocabulary.TokenType;
import io.llara.io.AtomicFiles;
import io.llara.io.StrictJson;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Writes the vocabulary of a GGUF file as Hugging Face's libraries and {@code
 * io.llara.tokenize.Tokenizer} read it: {@code tokenizer.json}, {@code tokenizer_config.json},
 * {@code special_tokens_map.json}.
 */
final class GgufTokenizerFiles {
  private static final String NORMALIZER =
      """
      {"type": "Sequence", "normalizers": [
        %s {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}""";

  private static final String DECODER =
      """
      {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"} %s]}""";

  private final GgufVocabulary vocabulary;
  private final boolean sentencePiece;

  GgufTokenizerFiles(GgufVocabulary vocabulary) {
    this.vocabulary = vocabulary;
    this.sentencePiece = vocabulary.kind() == Kind.LLAMA;
  }

  /** Writes the three files into a directory. */
  void write(Path dir, int maxTokens) {
    AtomicFiles.writeJson(dir.resolve("tokenizer.json"), tokenizer());
    AtomicFiles.writeJson(dir.resolve("special_tokens_map.json"), names());
    AtomicFiles.writeJson(dir.resolve("tokenizer_config.json"), settings(maxTokens));
  }

  /** The tokens that are not part of the text proper, in the order of their ids. */
  private IntStream addedIds() {
    return IntStream.range(0, vocabulary.size())
        .filter(id -> vocabulary.isSpecial(id) || vocabulary.type(id) == TokenType.USER_DEFINED);
  }

  private JsonObject names() {
    JsonObject names = new JsonObject();
    vocabulary.specials().forEach((role, id) -> names.addProperty(role, vocabulary.token(id)));
    return names;
  }

  private JsonObject settings(int maxTokens) {
    JsonObject settings = new JsonObject();
    JsonObject added = new JsonObject();
    addedIds().forEach(id -> added.add(Integer.toString(id), describe(new JsonObject(), id)));
    settings.addProperty("add_bos_token", vocabulary.addsBos());
    settings.addProperty("add_eos_token", vocabulary.addsEos());
    settings.add("added_tokens_decoder", added);
    names().asMap().forEach(settings::add);
    vocabulary
        .chatTemplate()
        .ifPresent(template -> settings.addProperty("chat_template", template));
    settings.addProperty("clean_up_tokenization_spaces", false);
    settings.addProperty("model_max_length", maxTokens);
    // The class that takes a tokenizer.json as it is; others rebuild parts of it.
    settings.addProperty("tokenizer_class", "PreTrainedTokenizerFast");
    return settings;
  }

  private JsonObject describe(JsonObject token, int id) {
    token.addProperty("content", vocabulary.token(id));
    for (String no : List.of("single_word", "lstrip", "rstrip", "normalized")) {
      token.addProperty(no, false);
    }
    token.addProperty("special", vocabulary.isSpecial(id));
    return token;
  }

  private JsonObject tokenizer() {
    JsonArray added = new JsonArray();
    addedIds()
        .forEach(
            id -> {
              JsonObject token = new JsonObject();
              token.addProperty("id", id);
              added.add(describe(token, id));
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
    String prepend = "{\"type\": \"Prepend\", \"prepend\": \"\u2581\"},";
    return JsonParser.parseString(NORMALIZER.formatted(vocabulary.addsSpace() ? prepend : ""));
  }

  private JsonElement decoder() {
    String strip = ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}";
    return JsonParser.parseString(DECODER.formatted(vocabulary.addsSpace() ? strip : ""));
  }

  /** What goes around a text: BOS and EOS where the file asks for them. */
  private JsonElement postProcessor() {
    List<Integer> before = marker(vocabulary.addsBos(), GgufVocabulary.BOS);
    List<Integer> after = marker(vocabulary.addsEos(), GgufVocabulary.EOS);
    if (before.isEmpty() && after.isEmpty()) {
      return JsonNull.INSTANCE;
    }
    List<String> pieces = new ArrayList<>();
    for (int part = 0; part < 2; part++) {
      String text = "{\"Sequence\": {\"id\": \"%s\", \"type_id\": %d}}";
      pieces.addAll(references(before, part));
      pieces.add(text.formatted(part == 0 ? "A" : "B", part));
      pieces.addAll(references(after, part));
    }
    String tokens =
        Stream.concat(before.stream(), after.stream())
            .distinct()
            .map(
                id ->
                    "%1$s: {\"id\": %1$s, \"ids\": [%2$d], \"tokens\": [%1$s]}"
                        .formatted(quoted(id), id))
            .collect(Collectors.joining(", "));
    return JsonParser.parseString(
        "{\"type\": \"TemplateProcessing\", \"single\": %s, \"pair\": %s, \"special_tokens\": {%s}}"
            .formatted(pieces.subList(0, pieces.size() / 2), pieces, tokens));
  }

  private List<Integer> marker(boolean used, String role) {
    return used ? vocabulary.special(role).stream().toList() : List.of();
  }

  private List<String> references(List<Integer> ids, int part) {
    String token = "{\"SpecialToken\": {\"id\": %s, \"type_id\": %d}}";
    return ids.stream().map(id -> token.formatted(quoted(id), part)).toList();
  }

  private JsonElement quoted(int id) {
    return new JsonPrimitive(vocabulary.token(id));
  }

  private JsonObject model() {
    JsonObject ids = new JsonObject();
    IntStream.range(0, vocabulary.size()).forEach(id -> ids.addProperty(vocabulary.token(id), id));
    JsonElement unknown = names().get(GgufVocabulary.UNKNOWN);
    JsonObject json = new JsonObject();
    json.addProperty("type", "BPE");
    json.add("dropout", JsonNull.INSTANCE);
    json.add("unk_token", sentencePiece ? unknown : JsonNull.INSTANCE);
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
  private JsonElement merges() {
    List<Merge> merges = vocabulary.merges();
    boolean asPairs =
        merges.stream().anyMatch(merge -> (merge.left() + merge.right()).contains(" "));
    return StrictJson.tree(
        merges.stream()
            .map(
                merge ->
                    asPairs
                        ? List.of(merge.left(), merge.right())
                        : merge.left() + " " + merge.right())
            .toList());
  }
}
