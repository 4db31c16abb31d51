package io.llara.prompt;

import com.google.common.collect.ImmutableSet;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.ModelLoadException;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import io.llara.prompt.PromptTemplate.Affix;
import io.llara.prompt.PromptTemplate.Eos;
import io.llara.prompt.PromptTemplate.Part;
import io.llara.prompt.PromptTemplate.Text;
import io.llara.prompt.PromptTemplate.Token;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** The JSON form of a prompt template; see {@link PromptTemplate#fromJson}. */
final class PromptTemplateJson {
  private static final ImmutableSet<String> TEMPLATE_KEYS =
      ImmutableSet.of("name", "pooling", "joined", "self", "next");
  private static final ImmutableSet<String> AFFIX_KEYS = ImmutableSet.of("prefix", "suffix");
  private static final ImmutableSet<String> PART_KEYS = ImmutableSet.of("text", "token", "eos");

  private PromptTemplateJson() {}

  static PromptTemplate read(String json) {
    JsonSection template = StrictJson.modelText(json, "prompt template");
    template.refuseUnknownKeys(TEMPLATE_KEYS);
    try {
      return new PromptTemplate(
          template.requiredString("name"),
          affix(template.requiredSection("self")),
          affix(template.requiredSection("next")),
          pooling(template),
          template.bool("joined").orElse(false));
    } catch (IllegalArgumentException e) {
      throw new ModelLoadException("prompt template: " + e.getMessage(), e);
    }
  }

  static String write(PromptTemplate template) {
    JsonObject root = new JsonObject();
    root.addProperty("name", template.name());
    root.addProperty("pooling", spelled(template.pooling()));
    if (template.joined()) {
      root.addProperty("joined", true);
    }
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

  private static Pooling pooling(JsonSection template) {
    String name = template.requiredString("pooling");
    return Arrays.stream(Pooling.values())
        .filter(pooling -> spelled(pooling).equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                template.invalid(
                    "pooling",
                    Messages.quote(name),
                    Arrays.stream(Pooling.values())
                        .map(PromptTemplateJson::spelled)
                        .collect(Collectors.joining(", "))));
  }

  private static String spelled(Pooling pooling) {
    return pooling.name().toLowerCase(Locale.ROOT);
  }

  private static Affix affix(JsonSection affix) {
    affix.refuseUnknownKeys(AFFIX_KEYS);
    return new Affix(parts(affix, "prefix"), parts(affix, "suffix"));
  }

  private static List<Part> parts(JsonSection affix, String key) {
    return affix.sections(key).orElse(List.of()).stream().map(PromptTemplateJson::part).toList();
  }

  private static Part part(JsonSection part) {
    part.refuseUnknownKeys(PART_KEYS);
    if (part.keys().size() != 1) {
      throw new ModelLoadException(
          "prompt template: a part of a prefix or suffix has %d keys; expected one of %s"
              .formatted(part.keys().size(), String.join(", ", PART_KEYS)));
    }
    if (part.mentions("text")) {
      return new Text(part.requiredString("text"));
    }
    if (part.mentions("token")) {
      return new Token(part.requiredString("token"));
    }
    if (!part.bool("eos").orElse(false)) {
      throw part.invalid("eos", part.describe("eos"), "true");
    }
    return new Eos();
  }
}
