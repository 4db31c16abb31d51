package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatNoException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.gson.Gson;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * How the settings of an adapter name modules, against what {@code
 * benchmarks/scripts/lora-patterns.py} recorded of PEFT.
 */
class LoraPatternsTest {
  private static final Gson GSON = new Gson();

  private record Patterns(List<String> keys, List<Integer> deciding) {}

  private record Excluded(Object exclude_modules, List<String> modules) {}

  private record Recorded(
      String peft, List<String> modules, List<Patterns> patterns, List<Excluded> excluded) {}

  @TempDir Path dir;
  private static Recorded recorded;

  @BeforeAll
  static void read() throws Exception {
    try (Reader in =
        new InputStreamReader(
            LoraPatternsTest.class.getResourceAsStream("lora-patterns.json"),
            StandardCharsets.UTF_8)) {
      recorded = GSON.fromJson(in, Recorded.class);
    }
  }

  private LoraSettings settings(Map<String, Object> values) {
    Map<String, Object> all =
        new LinkedHashMap<>(Map.of("peft_type", "LORA", "r", 64, "lora_alpha", 64));
    all.putAll(values);
    return LoraSettings.read(Checkpoints.text(dir.resolve("config.json"), GSON.toJson(all)));
  }

  @Test
  void theFirstPatternThatFitsDecides() {
    assertThat(recorded.patterns()).hasSize(12);
    for (Patterns patterns : recorded.patterns()) {
      Map<String, Object> ranks = new LinkedHashMap<>();
      patterns.keys().forEach(key -> ranks.put(key, 1 + ranks.size()));
      LoraSettings settings = settings(Map.of("rank_pattern", ranks));
      LoraSettings alphas = settings(Map.of("alpha_pattern", ranks));
      for (int i = 0; i < recorded.modules().size(); i++) {
        int deciding = patterns.deciding().get(i);
        String path = "model." + recorded.modules().get(i);
        int expected = deciding < 0 ? 64 : deciding + 1;
        assertThat(settings.rank(path)).as("%s, %s", patterns.keys(), path).isEqualTo(expected);
        assertThat(alphas.scale(path)).isEqualTo(expected / 64.0);
      }
    }
  }

  @Test
  void modulesThatAreExcludedNeedNoTensors() {
    assertThat(recorded.excluded()).hasSize(6);
    for (Excluded excluded : recorded.excluded()) {
      for (String module : recorded.modules()) {
        LoraSettings settings =
            settings(
                Map.of(
                    "exclude_modules",
                    excluded.exclude_modules(),
                    "target_modules",
                    List.of(module)));
        ThrowingCallable check = () -> settings.checkTargets(List.of(), recorded.modules());
        if (excluded.modules().contains(module)) {
          assertThatNoException().isThrownBy(check);
        } else {
          assertThatThrownBy(check)
              .as("%s, %s", excluded, module)
              .hasMessageContaining("target_modules");
        }
      }
    }
  }
}
