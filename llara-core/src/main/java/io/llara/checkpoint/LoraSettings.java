package io.llara.checkpoint;

import com.google.common.collect.ImmutableMap;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * The part of an {@code adapter_config.json} that says how large an update is; refuses the rest.
 */
final class LoraSettings {
  private static final int MAX_RANK = 1 << 16;

  /** A pattern that takes more steps than this on a module's name never ends on longer ones. */
  private static final int MAX_STEPS = 1 << 20;

  /** Settings that change what an adapter computes, with the values that change nothing. */
  private static final ImmutableMap<String, String> NEUTRAL =
      ImmutableMap.<String, String>builder()
          .put("bias", "the string 'none'")
          .put("use_dora", "false")
          .put("use_qalora", "false")
          .put("use_bdlora", "false")
          .put("lora_bias", "false")
          .put("fan_in_fan_out", "false")
          .put("layer_replication", "null")
          .put("trainable_token_indices", "null")
          .put("target_parameters", "null")
          .put("alora_invocation_tokens", "null")
          .put("arrow_config", "null")
          .buildOrThrow();

  private final JsonSection json;
  private final int rank;
  private final double alpha;
  private final boolean rootScale;
  private final Map<String, Integer> ranks;
  private final Map<String, Double> alphas;

  private LoraSettings(JsonSection json) {
    this.json = json;
    refuseUnsupported();
    rank = json.requiredInt("r");
    checkRank("r", rank);
    alpha = json.requiredNumber("lora_alpha");
    rootScale = json.bool("use_rslora").orElse(false);
    ranks = json.section("rank_pattern").map(JsonSection::allIntegers).orElse(Map.of());
    alphas = json.section("alpha_pattern").map(JsonSection::allNumbers).orElse(Map.of());
    ranks.forEach((name, value) -> checkRank("rank_pattern." + name, value));
  }

  static LoraSettings read(Path file) {
    return new LoraSettings(StrictJson.modelFile(file));
  }

  /**
   * Returns the rank of the update of a module.
   *
   * @param path of the module in the model that was adapted: {@code
   *     model.layers.0.self_attn.q_proj}, for one without a head {@code layers.0.self_attn.q_proj}
   */
  int rank(String path) {
    return firstMatch("rank_pattern", ranks, path, rank);
  }

  /** Returns what the product of the factors of a module is multiplied with. */
  double scale(String path) {
    int r = rank(path);
    return firstMatch("alpha_pattern", alphas, path, alpha) / (rootScale ? Math.sqrt(r) : r);
  }

  /**
   * Fails if a module that was to be adapted is not: the weights are incomplete then.
   *
   * @param modules those that are adapted
   * @param all those that the model has
   */
  void checkTargets(Collection<String> modules, Collection<String> all) {
    // A string instead of a list is a pattern; the tensors tell what it matched.
    if (!json.has("target_modules") || json.isString("target_modules")) {
      return;
    }
    for (String target : Set.copyOf(json.strings("target_modules").orElse(List.of()))) {
      if (modules.stream().noneMatch(module -> names(target, module))
          && !all.stream().filter(module -> names(target, module)).allMatch(this::isExcluded)) {
        throw json.invalid(
            "target_modules",
            "a list with " + Messages.quote(target),
            "modules with tensors in " + LoraAdapter.WEIGHTS);
      }
    }
  }

  private void refuseUnsupported() {
    String type = json.string("peft_type").orElseThrow(() -> json.missing("peft_type", "LORA"));
    if (!type.equals("LORA")) {
      throw json.unsupported("peft_type", Messages.quote(type), "LORA");
    }
    NEUTRAL.forEach(
        (key, neutral) -> {
          if (json.has(key) && !json.describe(key).equals(neutral)) {
            throw json.unsupported(key, json.describe(key), neutral);
          }
        });
    refuseChangedBase();
  }

  /** Some ways to start an adapter subtract it from the base weights, which we do not have then. */
  private void refuseChangedBase() {
    if (!json.isString("init_lora_weights")) {
      return;
    }
    String start = json.string("init_lora_weights").orElseThrow();
    if (!List.of("gaussian", "eva", "orthogonal").contains(start)) {
      throw json.unsupported(
          "init_lora_weights",
          Messages.quote(start) + ", which may change the base weights",
          "true, false, gaussian, eva, orthogonal");
    }
  }

  private void checkRank(String key, int value) {
    if (value < 1 || value > MAX_RANK) {
      throw json.invalid(key, Integer.toString(value), "1 to " + MAX_RANK);
    }
  }

  private boolean isExcluded(String module) {
    String key = "exclude_modules";
    if (json.isString(key)) {
      String pattern = json.string(key).orElseThrow();
      return matches(key, pattern, "model." + module) || matches(key, pattern, module);
    }
    return json.strings(key).orElse(List.of()).stream().anyMatch(name -> names(name, module));
  }

  /** The first entry that fits decides, as in PEFT: a pattern of the end of a module's path. */
  private <T> T firstMatch(String key, Map<String, T> patterns, String path, T otherwise) {
    return patterns.entrySet().stream()
        .filter(entry -> matches(key, "(.*\\.)?(" + entry.getKey() + ")", path))
        .map(Map.Entry::getValue)
        .findFirst()
        .orElse(otherwise);
  }

  private boolean matches(String key, String pattern, String path) {
    try {
      return Pattern.compile(pattern).matcher(new Bounded(path)).matches();
    } catch (PatternSyntaxException | Bounded.Exceeded | StackOverflowError e) {
      throw json.unsupported(
          key,
          "a pattern with " + Messages.quote(pattern),
          "regular expressions that Java reads as well, and in short time");
    }
  }

  /** Characters that may be looked at so many times. */
  private static final class Bounded implements CharSequence {
    private final String text;
    private int steps;

    /** It was too often. */
    private static final class Exceeded extends RuntimeException {
      private static final long serialVersionUID = 1L;
    }

    Bounded(String text) {
      this.text = text;
    }

    @Override
    public char charAt(int index) {
      if (++steps > MAX_STEPS) {
        throw new Exceeded();
      }
      return text.charAt(index);
    }

    @Override
    public int length() {
      return text.length();
    }

    @Override
    public CharSequence subSequence(int start, int end) {
      return text.subSequence(start, end);
    }

    @Override
    public String toString() {
      return text;
    }
  }

  /** Returns whether a name means a module: the end of its path, or the whole of it. */
  private static boolean names(String name, String module) {
    return ("model." + module).equals(name) || ("." + module).endsWith("." + name);
  }
}
