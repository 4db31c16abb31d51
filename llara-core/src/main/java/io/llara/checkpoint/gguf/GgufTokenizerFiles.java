package io.llara.checkpoint.gguf;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.google.gson.stream.JsonWriter;
import io.llara.io.AtomicFiles;
import java.io.IOException;
import java.io.Writer;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
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
    AtomicFiles.write(
        dir.resolve("tokenizer.json"),
        channel -> {
          // Not closed: the channel is forced to disk first.
          Writer text = Channels.newWriter(channel, StandardCharsets.UTF_8);
          JsonWriter json = new JsonWriter(text);
          json.setIndent("  ");
          json.setHtmlSafe(false);
          json.setSerializeNulls(true);
          writeTokenizer(json);
          text.write('\n');
          text.flush();
        });
    JsonObject names = names();
    AtomicFiles.writeJson(dir.resolve("special_tokens_map.json"), names);
    AtomicFiles.writeJson(dir.resolve("tokenizer_config.json"), settings(names, maxTokens));
  }

  /** The tokens that are not part of the text proper, in the order of their ids. */
  private IntStream addedIds() {
    return IntStream.range(0, vocabulary.size())
        .filter(
            id ->
                vocabulary.isSpecial(id)
                    || vocabulary.type(id) == GgufVocabulary.TokenType.USER_DEFINED);
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
    addedIds()
        .forEach(
            id -> {
              JsonObject token = addedToken(id);
              token.remove("id");
              added.add(Integer.toString(id), token);
            });
    settings.addProperty("add_bos_token", vocabulary.addsBos());
    settings.addProperty("add_eos_token", vocabulary.addsEos());
    settings.add("added_tokens_decoder", added);
    names.entrySet().forEach(name -> settings.add(name.getKey(), name.getValue()));
    vocabulary
        .chatTemplate()
        .ifPresent(template -> settings.addProperty("chat_template", template));
    settings.addProperty("clean_up_tokenization_spaces", false);
    settings.addProperty("model_max_length", maxTokens);
    // The class that takes a tokenizer.json as it is; others rebuild parts of it.
    settings.addProperty("tokenizer_class", "PreTrainedTokenizerFast");
    return settings;
  }

  private JsonObject addedToken(int id) {
    JsonObject token = new JsonObject();
    token.addProperty("id", id);
    token.addProperty("content", vocabulary.token(id));
    token.addProperty("single_word", false);
    token.addProperty("lstrip", false);
    token.addProperty("rstrip", false);
    token.addProperty("normalized", false);
    token.addProperty("special", vocabulary.isSpecial(id));
    return token;
  }

  private void writeTokenizer(JsonWriter json) throws IOException {
    boolean sentencePiece = vocabulary.kind() == GgufVocabulary.Kind.LLAMA;
    json.beginObject();
    json.name("version").value("1.0");
    json.name("truncation").nullValue();
    json.name("padding").nullValue();
    json.name("added_tokens").beginArray();
    for (int id : addedIds().toArray()) {
      write(json, addedToken(id));
    }
    json.endArray();
    json.name("normalizer");
    write(json, sentencePiece ? normalizer() : JsonNull.INSTANCE);
    json.name("pre_tokenizer");
    write(
        json,
        vocabulary
            .preTokenizer()
            .<JsonElement>map(GgufPreTokenizer::toJson)
            .orElse(JsonNull.INSTANCE));
    json.name("post_processor");
    write(json, postProcessor());
    json.name("decoder");
    write(json, sentencePiece ? decoder() : GgufPreTokenizer.byteLevel(true));
    json.name("model");
    writeModel(json);
    json.endObject();
  }

  private JsonObject normalizer() {
    JsonArray steps = new JsonArray();
    if (vocabulary.addsSpace()) {
      JsonObject prepend = typed("Prepend");
      prepend.addProperty("prepend", SPACE);
      steps.add(prepend);
    }
    steps.add(replace(" ", SPACE));
    return sequence("normalizers", steps);
  }

  private JsonObject decoder() {
    JsonArray steps = new JsonArray();
    steps.add(replace(SPACE, " "));
    steps.add(typed("ByteFallback"));
    steps.add(typed("Fuse"));
    if (vocabulary.addsSpace()) {
      JsonObject strip = typed("Strip");
      strip.addProperty("content", " ");
      strip.addProperty("start", 1);
      strip.addProperty("stop", 0);
      steps.add(strip);
    }
    return sequence("decoders", steps);
  }

  /** What goes around a text: BOS and EOS where the file asks for them. */
  private JsonElement postProcessor() {
    boolean bos = vocabulary.addsBos();
    boolean eos = vocabulary.addsEos();
    if (!bos && !eos) {
      return JsonNull.INSTANCE;
    }
    JsonObject special = new JsonObject();
    JsonArray single = new JsonArray();
    JsonArray pair = new JsonArray();
    for (int part = 0; part < 2; part++) {
      JsonArray around = new JsonArray();
      if (bos) {
        around.add(reference(special, vocabulary.bosId().orElseThrow(), part));
      }
      JsonObject sequence = new JsonObject();
      sequence.addProperty("id", part == 0 ? "A" : "B");
      sequence.addProperty("type_id", part);
      JsonObject place = new JsonObject();
      place.add("Sequence", sequence);
      around.add(place);
      if (eos) {
        around.add(reference(special, vocabulary.eosId().orElseThrow(), part));
      }
      pair.addAll(around);
      if (part == 0) {
        single.addAll(around);
      }
    }
    JsonObject template = typed("TemplateProcessing");
    template.add("single", single);
    template.add("pair", pair);
    template.add("special_tokens", special);
    return template;
  }

  private JsonObject reference(JsonObject special, int id, int part) {
    String name = vocabulary.token(id);
    JsonArray ids = new JsonArray();
    ids.add(id);
    JsonArray tokens = new JsonArray();
    tokens.add(name);
    JsonObject token = new JsonObject();
    token.addProperty("id", name);
    token.add("ids", ids);
    token.add("tokens", tokens);
    special.add(name, token);
    JsonObject inner = new JsonObject();
    inner.addProperty("id", name);
    inner.addProperty("type_id", part);
    JsonObject reference = new JsonObject();
    reference.add("SpecialToken", inner);
    return reference;
  }

  private void writeModel(JsonWriter json) throws IOException {
    boolean sentencePiece = vocabulary.kind() == GgufVocabulary.Kind.LLAMA;
    json.beginObject();
    json.name("type").value("BPE");
    json.name("dropout").nullValue();
    json.name("unk_token");
    if (sentencePiece && vocabulary.unknownId().isPresent()) {
      json.value(vocabulary.token(vocabulary.unknownId().getAsInt()));
    } else {
      json.nullValue();
    }
    json.name("continuing_subword_prefix").nullValue();
    json.name("end_of_word_suffix").nullValue();
    json.name("fuse_unk").value(sentencePiece);
    json.name("byte_fallback").value(vocabulary.hasByteTokens());
    json.name("ignore_merges")
        .value(vocabulary.preTokenizer().map(GgufPreTokenizer::ignoresMerges).orElse(false));
    json.name("vocab").beginObject();
    for (int id = 0; id < vocabulary.size(); id++) {
      json.name(vocabulary.token(id)).value(id);
    }
    json.endObject();
    json.name("merges").beginArray();
    writeMerges(json, vocabulary.merges());
    json.endArray();
    json.endObject();
  }

  /** Writes merges as "left right", which all readers know, or as pairs if a token has a space. */
  private void writeMerges(JsonWriter json, List<GgufVocabulary.Merge> merges) throws IOException {
    boolean asPairs =
        merges.stream()
            .anyMatch(
                merge ->
                    vocabulary.token(merge.left()).contains(" ")
                        || vocabulary.token(merge.right()).contains(" "));
    for (GgufVocabulary.Merge merge : merges) {
      String left = vocabulary.token(merge.left());
      String right = vocabulary.token(merge.right());
      if (asPairs) {
        json.beginArray().value(left).value(right).endArray();
      } else {
        json.value(left + " " + right);
      }
    }
  }

  private static JsonObject typed(String type) {
    JsonObject component = new JsonObject();
    component.addProperty("type", type);
    return component;
  }

  private static JsonObject sequence(String key, JsonArray steps) {
    JsonObject sequence = typed("Sequence");
    sequence.add(key, steps);
    return sequence;
  }

  private static JsonObject replace(String text, String replacement) {
    JsonObject pattern = new JsonObject();
    pattern.addProperty("String", text);
    JsonObject replace = typed("Replace");
    replace.add("pattern", pattern);
    replace.addProperty("content", replacement);
    return replace;
  }

  /** Writes a small tree. */
  private static void write(JsonWriter json, JsonElement element) throws IOException {
    if (element instanceof JsonObject object) {
      json.beginObject();
      for (String key : object.keySet()) {
        json.name(key);
        write(json, object.get(key));
      }
      json.endObject();
    } else if (element instanceof JsonArray array) {
      json.beginArray();
      for (JsonElement item : array) {
        write(json, item);
      }
      json.endArray();
    } else if (element instanceof JsonPrimitive primitive && primitive.isString()) {
      json.value(primitive.getAsString());
    } else {
      json.jsonValue(element.toString());
    }
  }
}
