package io.llara.train.lora;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LoraOptionsTest {
  @Test
  void theDefaultIsThatOfTheReleasedModels() {
    LoraOptions options = LoraOptions.DEFAULT;
    assertThat(options.rank()).isEqualTo(64);
    assertThat(options.alpha()).isEqualTo(16);
    assertThat(options.dropout()).isZero();
    assertThat(options.targets()).hasSize(7);
    assertThat(options.scale()).isEqualTo(0.25);
  }

  @Test
  void oneValueChangesAtATime() {
    LoraOptions options =
        LoraOptions.DEFAULT.withRank(4).withAlpha(6).withDropout(0.1).withTargets(Set.of("q_proj"));
    assertThat(options).isEqualTo(new LoraOptions(4, 6, 0.1, Set.of("q_proj")));
    assertThat(options.scale()).isEqualTo(1.5);
  }

  @Test
  void theTargetsAreACopy() {
    Set<String> targets = new HashSet<>(Set.of("q_proj"));
    LoraOptions options = LoraOptions.DEFAULT.withTargets(targets);
    targets.add("k_proj");
    assertThat(options.targets()).containsExactly("q_proj");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, -1})
  void theRankIsAtLeastOne(int rank) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> LoraOptions.DEFAULT.withRank(rank))
        .withMessageContaining("rank")
        .withMessageContaining(String.valueOf(rank));
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, -1, Double.NaN, Double.POSITIVE_INFINITY})
  void alphaIsPositiveAndFinite(double alpha) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> LoraOptions.DEFAULT.withAlpha(alpha))
        .withMessageContaining("alpha");
  }

  @ParameterizedTest
  @ValueSource(doubles = {-0.1, 1, Double.NaN})
  void dropoutIsAShare(double dropout) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> LoraOptions.DEFAULT.withDropout(dropout))
        .withMessageContaining("dropout");
  }

  @Test
  void targetsAreSomeOfTheSeven() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> LoraOptions.DEFAULT.withTargets(Set.of("q_proj", "lm_head")))
        .withMessageContaining("lm_head");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> LoraOptions.DEFAULT.withTargets(Set.of()))
        .withMessageContaining("targets");
  }
}
