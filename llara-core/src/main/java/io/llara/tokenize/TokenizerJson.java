package io.llara.tokenize;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.common.base.CharMatcher;
import com.google.common.collect.Iterables;
import com.google.common.collect.Maps;
import com.google.common.io.CharSource;
import com.google.common.primitives.ImmutableIntArray;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.JsonWriter;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * A tokenizer.json, read and checked: its tokens, and the two reduced files made of it for the
 * native library. Lives only while a tokenizer loads.
 *
 * <p>Format: the serialised form of the tokenizers library of Hugging Face, version 1.0. Vocabulary
 * and merges, the bulk of it, are streamed; the rest is small.
 */
final class TokenizerJson {
  static final String FILE = "tokenizer.json";

  private static final Set<String> KINDS = Set.of("BPE", "Unigram");

  /** How an added token is described beside its id and its name. */
  private static final List<String> FLAGS =
      List.of("single_word", "lstrip", "rstrip", "normalized", "special");

  /** The tokens of single bytes, by which characters without a token are spelled. */
  private static final Pattern BYTE = Pattern.compile("<0x[0-9A-F]{2}>");

  private static final int MAX_GAP = 1 << 16;

  /** One more than the largest must be an int too. */
  private static final int MAX_ID = 999_999_999;

  private static final long MAX_BYTES = 512L << 20;

  /** Deeper than any real file, shallower than the native parser allows. */
  private static final int MAX_NESTING = 100;

  private final Path file;

  /** Everything but vocabulary, merges and added tokens. */
  private final JsonObject settings = new JsonObject();

  private final JsonObject model = new JsonObject();

  /** Names and ids of the model's own vocabulary, in file order. */
  private final Map<String, Integer> vocabulary = new LinkedHashMap<>();

  /** The scores of a Unigram vocabulary, as written, in the order of its ids. */
  private final List<JsonPrimitive> scores = new ArrayList<>();

  /** Left and right of each merge, alternating. */
  private final List<String> merges = new ArrayList<>();

  /** Added tokens by name, in file order. */
  private final Map<String, Added> added = new LinkedHashMap<>();

  private final Map<Integer, String> names = new HashMap<>();

  private ImmutableIntArray bosIds = ImmutableIntArray.of();
  private ImmutableIntArray closingIds = ImmutableIntArray.of();
  private Optional<String> unkToken = Optional.empty();

  /**
   * A token that was added to the vocabulary.
   *
   * @param json the whole entry, which says how texts are searched for it
   */
  private record Added(int id, boolean special, JsonObject json) {}

  private TokenizerJson(Path file) {
    this.file = file;
  }

  /**
   * Reads the tokenizer.json of a model directory, or converts its slow tokenizer.
   *
   * @throws ModelLoadException if there is none, or it is not JSON, or of the wrong form
   * @throws UnsupportedModelException if it is of a kind that is not supported
   */
  static TokenizerJson read(Path modelDir) {
    Optional<JsonObject> converted = SlowTokenizer.convert(modelDir);
    Path file = modelDir.resolve(converted.isPresent() ? SlowTokenizer.FILE : FILE);
    TokenizerJson json = new TokenizerJson(file);
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw new ModelLoadException(
            "%s: has %d bytes; expected at most %d".formatted(file, Files.size(file), MAX_BYTES));
      }
      try (InputStream in =
              converted.isPresent()
                  ? CharSource.wrap(StrictJson.compact(converted.get()))
                      .asByteSource(UTF_8)
                      .openStream()
                  : new BufferedInputStream(Files.newInputStream(file));
          JsonReader reader = StrictJson.reader(in, MAX_NESTING)) {
        json.readRoot(reader);
      }
    } catch (NoSuchFileException e) {
      throw new ModelLoadException(
          "%s: does not exist; a model directory needs it, or the %s of a slow tokenizer"
              .formatted(file, SlowTokenizer.FILE),
          e);
    } catch (IOException e) {
      throw new ModelLoadException("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
    json.check();
    return json;
  }

  /** Returns the file that the tokenizer was read from. */
  Path file() {
    return file;
  }

  /** Returns the ids that the post-processor puts before a text. */
  ImmutableIntArray bosIds() {
    return bosIds;
  }

  /** Returns the ids that the post-processor puts after a text. */
  ImmutableIntArray closingIds() {
    return closingIds;
  }

  /** Returns the name of the token that stands for what has no token, if there is one. */
  Optional<String> unkToken() {
    return unkToken;
  }

  /** Returns all ids by name: the model's vocabulary and the added tokens. */
  Map<String, Integer> ids() {
    Map<String, Integer> ids = new HashMap<>(vocabulary);
    added.forEach((name, token) -> ids.put(name, token.id()));
    return ids;
  }

  /** Returns all names by id. */
  Map<Integer, String> names() {
    return names;
  }

  /** Returns the added tokens that texts are searched for: all that are not special. */
  Set<String> matched() {
    return Maps.filterValues(added, token -> !token.special()).keySet();
  }

  /**
   * Returns a tokenizer.json that takes every text as text: no special tokens, no post-processor,
   * and no way from a text to a special token, not by a merge either. Added tokens that are not
   * special are vocabulary and stay.
   *
   * @param reserved more names that a text must not be able to spell
   */
  String plain(Set<String> reserved) {
    Set<String> unmergeable = new HashSet<>(Maps.filterValues(added, Added::special).keySet());
    unmergeable.addAll(reserved);
    unkToken.ifPresent(unmergeable::add);
    Set<String> unreachable = new HashSet<>(unmergeable);
    if (fallsBackToBytes()) {
      // The model finds these by name, for characters that have no token.
      unreachable.removeIf(name -> BYTE.matcher(name).matches());
    }
    // Renamed rather than removed, so that all ids stay; the name is one that no text can guess.
    String nonce = "\uFDD0" + Long.toHexString(new SecureRandom().nextLong()) + ".";
    return write(
        added(unreachable, nonce),
        writer -> {
          copy(writer, "normalizer");
          copy(writer, "pre_tokenizer");
          writer.name("post_processor").nullValue();
          writer.name("decoder").nullValue();
          writer.name("model").beginObject();
          for (Map.Entry<String, JsonElement> entry : model.entrySet()) {
            writer.name(entry.getKey());
            if (entry.getKey().equals("unk_token") && unkToken.isPresent()) {
              writer.value(nonce + vocabulary.get(unkToken.get()));
            } else {
              writer.jsonValue(entry.getValue().toString());
            }
          }
          writer.name("vocab");
          if (isUnigram()) {
            writer.beginArray();
            int id = 0;
            for (String name : vocabulary.keySet()) {
              writer.beginArray();
              writer.value(unreachable.contains(name) ? nonce + id : name);
              writer.jsonValue(scores.get(id).toString());
              writer.endArray();
              id++;
            }
            writer.endArray();
          } else {
            writer.beginObject();
            for (Map.Entry<String, Integer> entry : vocabulary.entrySet()) {
              String name = entry.getKey();
              writer
                  .name(unreachable.contains(name) ? nonce + entry.getValue() : name)
                  .value(entry.getValue());
            }
            for (Map.Entry<String, Added> entry : added.entrySet()) {
              // With the id it has in the file; otherwise the library would number it anew.
              if (!vocabulary.containsKey(entry.getKey())
                  && !unreachable.contains(entry.getKey())) {
                writer.name(entry.getKey()).value(entry.getValue().id());
              }
            }
            writer.endObject();
            writer.name("merges").beginArray();
            for (int i = 0; i < merges.size(); i += 2) {
              String left = merges.get(i);
              String right = merges.get(i + 1);
              if (!unmergeable.contains(left)
                  && !unmergeable.contains(right)
                  && !unmergeable.contains(left + right)) {
                writer.beginArray().value(left).value(right).endArray();
              }
            }
            writer.endArray();
          }
          writer.endObject();
        });
  }

  /**
   * Returns a tokenizer.json that only decodes: each id, added ones too, under its own name in a
   * vocabulary without merges.
   *
   * @param most how many ids at most
   */
  String decoding(int most) {
    return write(
        new JsonArray(),
        writer -> {
          writer.name("normalizer").nullValue();
          writer.name("pre_tokenizer").nullValue();
          writer.name("post_processor").nullValue();
          copy(writer, "decoder");
          writer.name("model").beginObject().name("type").value("BPE").name("vocab").beginObject();
          for (Map.Entry<String, Integer> entry : Iterables.limit(ids().entrySet(), most)) {
            writer.name(entry.getKey()).value(entry.getValue());
          }
          writer.endObject().name("merges").beginArray().endArray().endObject();
        });
  }

  /**
   * The added tokens of a plain tokenizer. The library gives those that its model does not have the
   * ids after the vocabulary, one by one, whatever their entries say. A BPE vocabulary can take
   * them in; the ids of a Unigram vocabulary are its places, so that all ids in between are named.
   */
  private JsonArray added(Set<String> unreachable, String nonce) {
    Map<Integer, JsonObject> tokens = new TreeMap<>();
    added.forEach(
        (name, token) -> {
          if (!token.special() && !unreachable.contains(name)) {
            tokens.put(token.id(), token.json());
          }
        });
    if (isUnigram() && !tokens.isEmpty()) {
      int last = Collections.max(tokens.keySet());
      if (last - vocabulary.size() > MAX_GAP) {
        throw problem("an added token has id %d, far from the vocabulary's end", last);
      }
      for (int id = vocabulary.size(); id < last; id++) {
        JsonObject unused = new JsonObject();
        unused.addProperty("id", id);
        unused.addProperty("content", nonce + id);
        for (String key : FLAGS) {
          unused.addProperty(key, false);
        }
        tokens.putIfAbsent(id, unused);
      }
    }
    JsonArray array = new JsonArray();
    tokens.values().forEach(array::add);
    return array;
  }

  private interface Body {
    void write(JsonWriter writer) throws IOException;
  }

  private String write(JsonArray tokens, Body body) {
    StringWriter text = new StringWriter();
    try (JsonWriter writer = new JsonWriter(text)) {
      writer.setSerializeNulls(true);
      writer.beginObject().name("version").value("1.0");
      writer.name("truncation").nullValue().name("padding").nullValue();
      writer.name("added_tokens").jsonValue(tokens.toString());
      body.write(writer);
      writer.endObject();
    } catch (IOException e) {
      throw new UncheckedIOException("a string cannot fail to take text", e);
    }
    return text.toString();
  }

  private void copy(JsonWriter writer, String key) throws IOException {
    JsonElement value = settings.get(key);
    writer.name(key);
    if (value == null) {
      writer.nullValue();
    } else {
      writer.jsonValue(value.toString());
    }
  }

  private boolean fallsBackToBytes() {
    return model.get("byte_fallback") instanceof JsonPrimitive value && value.getAsBoolean();
  }

  private boolean isUnigram() {
    return !scores.isEmpty();
  }

  private void readRoot(JsonReader reader) throws IOException {
    Set<String> seen = new HashSet<>();
    begin(reader, JsonToken.BEGIN_OBJECT, "the file");
    while (reader.hasNext()) {
      String key = uniqueName(reader, seen, "the file");
      if (key.equals("model")) {
        readModel(reader);
      } else {
        settings.add(key, StrictJson.element(reader));
      }
    }
    reader.endObject();
    StrictJson.end(reader);
    if (!seen.contains("model")) {
      throw problem("has no \"model\"");
    }
  }

  private void readModel(JsonReader reader) throws IOException {
    Set<String> seen = new HashSet<>();
    begin(reader, JsonToken.BEGIN_OBJECT, "model");
    while (reader.hasNext()) {
      String key = uniqueName(reader, seen, "model");
      switch (key) {
        case "vocab" -> {
          if (reader.peek() == JsonToken.BEGIN_ARRAY) {
            readUnigramVocabulary(reader);
          } else {
            readVocabulary(reader);
          }
        }
        case "merges" -> readMerges(reader);
        default -> model.add(key, StrictJson.element(reader));
      }
    }
    reader.endObject();
    if (vocabulary.isEmpty()) {
      throw problem("model has no \"vocab\", or an empty one");
    }
  }

  private void readVocabulary(JsonReader reader) throws IOException {
    begin(reader, JsonToken.BEGIN_OBJECT, "model.vocab");
    while (reader.hasNext()) {
      String name = reader.nextName();
      addToVocabulary(name, id(reader, name));
    }
    reader.endObject();
  }

  private void readUnigramVocabulary(JsonReader reader) throws IOException {
    begin(reader, JsonToken.BEGIN_ARRAY, "model.vocab");
    while (reader.hasNext()) {
      int id = scores.size();
      String where = "model.vocab[" + id + "]";
      begin(reader, JsonToken.BEGIN_ARRAY, where);
      String name = string(reader, "the token of " + where);
      if (reader.peek() != JsonToken.NUMBER) {
        throw wrong("the score of " + where, "a number", reader);
      }
      scores.add(StrictJson.element(reader).getAsJsonPrimitive());
      if (reader.hasNext()) {
        throw wrong(where, "a token and a score", reader);
      }
      reader.endArray();
      addToVocabulary(name, id);
    }
    reader.endArray();
  }

  private void addToVocabulary(String name, int id) {
    if (name.isEmpty()) {
      throw problem("a token of model.vocab is the empty string");
    }
    if (vocabulary.putIfAbsent(name, id) != null) {
      throw problem("model.vocab has \"%s\" twice", name);
    }
    nameId(id, name);
  }

  private void readMerges(JsonReader reader) throws IOException {
    begin(reader, JsonToken.BEGIN_ARRAY, "model.merges");
    while (reader.hasNext()) {
      String where = "model.merges[" + merges.size() / 2 + "]";
      if (reader.peek() == JsonToken.STRING) {
        String merge = reader.nextString();
        int space = merge.indexOf(' ');
        if (space < 0 || merge.indexOf(' ', space + 1) >= 0) {
          throw problem("%s is \"%s\", expected two tokens with a space between", where, merge);
        }
        merges.add(merge.substring(0, space));
        merges.add(merge.substring(space + 1));
      } else {
        begin(reader, JsonToken.BEGIN_ARRAY, where);
        merges.add(string(reader, where));
        merges.add(string(reader, where));
        if (reader.hasNext()) {
          throw wrong(where, "two tokens", reader);
        }
        reader.endArray();
      }
    }
    reader.endArray();
  }

  private void readAdded(JsonSection json) {
    for (JsonSection token : json.sections("added_tokens").orElse(List.of())) {
      String name = token.requiredString("content");
      int id = token.requiredInt("id");
      if (name.isEmpty() || id < 0 || id > MAX_ID) {
        String key = name.isEmpty() ? "content" : "id";
        throw token.invalid(key, token.describe(key), "a name, and an id of 0 to " + MAX_ID);
      }
      JsonObject entry = new JsonObject();
      entry.addProperty("id", id);
      entry.addProperty("content", name);
      FLAGS.forEach(key -> entry.addProperty(key, token.bool(key).orElse(false)));
      boolean special = entry.get("special").getAsBoolean();
      if (added.putIfAbsent(name, new Added(id, special, entry)) != null) {
        throw problem("added_tokens has \"%s\" twice", name);
      }
      int inModel = vocabulary.getOrDefault(name, id);
      if (inModel != id) {
        throw problem("the added token \"%s\" has id %d, but %d in model.vocab", name, id, inModel);
      }
      if (!vocabulary.containsKey(name)) {
        nameId(id, name);
      }
    }
  }

  private void check() {
    JsonSection json = StrictJson.modelSection(settings, file.toString());
    readAdded(json);
    checkModel();
    bosIds = PipelineCheck.check(json);
    closingIds =
        json.section("post_processor").map(TokenizerJson::closing).orElse(ImmutableIntArray.of());
    for (int id : Iterables.concat(bosIds.asList(), closingIds.asList())) {
      if (!names.containsKey(id)) {
        throw problem("the post_processor puts id %d around a text, but no token has it", id);
      }
    }
  }

  /** Each of several processors goes around what the ones before it made. */
  private static ImmutableIntArray closing(JsonSection processor) {
    ImmutableIntArray.Builder after = ImmutableIntArray.builder();
    for (JsonSection part : processor.sections("processors").orElse(List.of())) {
      after.addAll(closing(part));
    }
    boolean behind = false;
    for (JsonSection piece : processor.sections("single").orElse(List.of())) {
      if (behind) {
        String name = piece.requiredSection("SpecialToken").requiredString("id");
        processor
            .requiredSection("special_tokens")
            .requiredSection(name)
            .integers("ids")
            .forEach(after::add);
      }
      behind |= piece.mentions("Sequence");
    }
    return after.build();
  }

  private void checkModel() {
    JsonSection section = StrictJson.modelSection(model, file + ": model");
    String expected = isUnigram() ? "Unigram" : "BPE";
    // Files of the first versions name no type; their merges tell them apart.
    String type = section.string("type").orElse(expected);
    if (!type.equals(expected)) {
      throw section.unsupported(
          "type",
          Messages.quote(type),
          KINDS.contains(type) ? expected + ", the form of this vocab" : "BPE, Unigram");
    }
    model.addProperty("type", expected);
    refuseUnlessAbsent(section, "dropout", "0", "0.0");
    refuseUnlessAbsent(section, "continuing_subword_prefix", "the string ''");
    refuseUnlessAbsent(section, "end_of_word_suffix", "the string ''");
    String unkKey = isUnigram() ? "unk_id" : "unk_token";
    unkToken = isUnigram() ? section.integer(unkKey).map(names::get) : section.string(unkKey);
    if (section.has(unkKey) && unkToken.filter(vocabulary::containsKey).isEmpty()) {
      throw section.invalid(unkKey, section.describe(unkKey), "a token of the vocab");
    }
  }

  private static void refuseUnlessAbsent(JsonSection model, String key, String... harmless) {
    if (model.has(key) && !Set.of(harmless).contains(model.describe(key))) {
      throw model.unsupported(key, model.describe(key), "null");
    }
  }

  private void nameId(int id, String name) {
    String other = names.putIfAbsent(id, name);
    if (other != null) {
      throw problem("\"%s\" and \"%s\" both have the token id %d", other, name, id);
    }
  }

  private String uniqueName(JsonReader reader, Set<String> seen, String where) throws IOException {
    String key = reader.nextName();
    if (!seen.add(key)) {
      throw problem("%s has the key \"%s\" twice", where, key);
    }
    return key;
  }

  private void begin(JsonReader reader, JsonToken kind, String where) throws IOException {
    if (reader.peek() != kind) {
      throw wrong(where, kind == JsonToken.BEGIN_ARRAY ? "a list" : "an object", reader);
    }
    if (kind == JsonToken.BEGIN_ARRAY) {
      reader.beginArray();
    } else {
      reader.beginObject();
    }
  }

  private String string(JsonReader reader, String where) throws IOException {
    if (reader.peek() != JsonToken.STRING) {
      throw wrong(where, "a string", reader);
    }
    return reader.nextString();
  }

  private int id(JsonReader reader, String name) throws IOException {
    if (reader.peek() != JsonToken.NUMBER) {
      throw wrong("the id of model.vocab[" + name + "]", "a token id", reader);
    }
    String number = reader.nextString();
    if (number.length() > 9 || !CharMatcher.inRange('0', '9').matchesAllOf(number)) {
      throw problem(
          "the id of model.vocab[%s] is %s, expected an integer of at most nine digits",
          name, number);
    }
    return Integer.parseInt(number);
  }

  private ModelLoadException wrong(String where, String expected, JsonReader at)
      throws IOException {
    return problem("%s is %s, expected %s", where, describe(at.peek()), expected);
  }

  private ModelLoadException problem(String what, Object... values) {
    return new ModelLoadException(file + ": " + what.formatted(values));
  }

  private static String describe(JsonToken token) {
    return switch (token) {
      case BEGIN_ARRAY -> "a list";
      case BEGIN_OBJECT -> "an object";
      case STRING -> "a string";
      case NUMBER -> "a number";
      case BOOLEAN -> "true or false";
      case NULL -> "null";
      default -> "missing";
    };
  }
}
