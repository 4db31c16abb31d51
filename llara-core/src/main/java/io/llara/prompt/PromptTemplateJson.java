package io.llara.prompt;

import com.google.common.collect.ImmutableSet;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import io.llara.ModelLoadException;
import io.llara.prompt.PromptTemplate.Affix;
import io.llara.prompt.PromptTemplate.Eos;
import io.llara.prompt.PromptTemplate.Part;
import io.llara.prompt.PromptTemplate.Text;
import io.llara.prompt.PromptTemplate.Token;
import java.io.IOException;
import java.io.StringReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The JSON form of a prompt template; see {@link PromptTemplate#fromJson}. */
final class PromptTemplateJson {
  private static final ImmutableSet<String> TEMPLATE_KEYS =
      ImmutableSet.of("name", "pooling", "self", "next");
  private static final ImmutableSet<String> AFFIX_KEYS = ImmutableSet.of("prefix", "suffix");
  private static final ImmutableSet<String> PART_KEYS = ImmutableSet.of("text", "token", "eos");

  private PromptTemplateJson() {}

  static PromptTemplate read(String json) {
    JsonElement root;
    try (JsonReader reader = new JsonReader(new StringReader(json))) {
      reader.setStrictness(Strictness.STRICT);
      root = JsonParser.parseReader(reader);
      if (reader.peek() != JsonToken.END_DOCUMENT) {
        throw bad("there is something behind its closing brace");
      }
    } catch (IOException | JsonParseException e) {
      throw new ModelLoadException("prompt template: not JSON: " + e.getMessage(), e);
    }
    JsonObject template = object(root, "the template");
    refuseUnknown(template, TEMPLATE_KEYS, "the template");
    try {
      return new PromptTemplate(
          string(template.get("name"), "\"name\""),
          affix(template, "self"),
          affix(template, "next"),
          pooling(string(template.get("pooling"), "\"pooling\"")));
    } catch (IllegalArgumentException e) {
      throw new ModelLoadException("prompt template: " + e.getMessage(), e);
    }
  }

  static String write(PromptTemplate template) {
    JsonObject root = new JsonObject();
    root.addProperty("name", template.name());
    root.addProperty("pooling", template.pooling().name().toLowerCase(Locale.ROOT));
    root.add("self", affix(template.self()));
    root.add("next", affix(template.next()));
    return root.toString();
  }

  private static JsonObject affix(Affix affix) {
    JsonObject object = new JsonObject();
    object.add("prefix", parts(affix.prefix()));
    object.add("suffix", parts(affix.suffix()));
    return object;
  }

  private static JsonArray parts(List<Part> parts) {
    JsonArray array = new JsonArray();
    for (Part part : parts) {
      JsonObject object = new JsonObject();
      if (part instanceof Text text) {
        object.addProperty("text", text.text());
      } else if (part instanceof Token token) {
        object.addProperty("token", token.token());
      } else {
        object.addProperty("eos", true);
      }
      array.add(object);
    }
    return array;
  }

  private static Pooling pooling(String name) {
    for (Pooling pooling : Pooling.values()) {
      if (pooling.name().toLowerCase(Locale.ROOT).equals(name)) {
        return pooling;
      }
    }
    throw bad(
        "\"pooling\" is \""
            + name
            + "\", not one of "
            + Arrays.toString(Pooling.values()).toLowerCase(Locale.ROOT));
  }

  private static Affix affix(JsonObject template, String mode) {
    String where = "\"" + mode + "\"";
    JsonObject affix = object(template.get(mode), where);
    refuseUnknown(affix, AFFIX_KEYS, where);
    return new Affix(parts(affix.get("prefix"), mode), parts(affix.get("suffix"), mode));
  }

  private static List<Part> parts(@Nullable JsonElement element, String mode) {
    List<Part> parts = new ArrayList<>();
    if (element == null) {
      return parts;
    }
    if (!(element instanceof JsonArray array)) {
      throw bad("prefix and suffix of \"" + mode + "\" are lists of parts");
    }
    for (JsonElement part : array) {
      parts.add(part(object(part, "a part of \"" + mode + "\""), mode));
    }
    return parts;
  }

  private static Part part(JsonObject part, String mode) {
    String where = "a part of \"" + mode + "\"";
    refuseUnknown(part, PART_KEYS, where);
    if (part.size() != 1) {
      throw bad(where + " has " + part.size() + " keys, not exactly one of " + PART_KEYS);
    }
    Map.Entry<String, JsonElement> entry = part.entrySet().iterator().next();
    switch (entry.getKey()) {
      case "text":
        return new Text(string(entry.getValue(), "\"text\" of " + where));
      case "token":
        return new Token(string(entry.getValue(), "\"token\" of " + where));
      default:
        if (!entry.getValue().equals(new JsonPrimitive(true))) {
          throw bad("\"eos\" of " + where + " is " + entry.getValue() + ", not true");
        }
        return new Eos();
    }
  }

  private static JsonObject object(@Nullable JsonElement element, String where) {
    if (element instanceof JsonObject object) {
      return object;
    }
    throw bad(where + (element == null ? " is missing" : " is not an object"));
  }

  private static String string(@Nullable JsonElement element, String where) {
    if (element instanceof JsonPrimitive primitive && primitive.isString()) {
      return primitive.getAsString();
    }
    throw bad(where + (element == null ? " is missing" : " is " + element + ", not a string"));
  }

  private static void refuseUnknown(JsonObject object, Set<String> known, String where) {
    for (String key : object.keySet()) {
      if (!known.contains(key)) {
        throw bad("unknown key \"" + key + "\" in " + where + "; known are " + known);
      }
    }
  }

  private static ModelLoadException bad(String message) {
    return new ModelLoadException("prompt template: " + message);
  }
}
