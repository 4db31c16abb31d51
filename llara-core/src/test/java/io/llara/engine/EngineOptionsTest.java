package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.util.List;
import org.junit.jupiter.api.Test;

class EngineOptionsTest {

  @Test
  void refusesNumbersBelowOneByName() {
    for (int bad : List.of(0, -1, Integer.MIN_VALUE)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> EngineOptions.builder().lanes(bad).build())
          .withMessageContainingAll("lanes", String.valueOf(bad));
      assertThatIllegalArgumentException()
          .isThrownBy(() -> EngineOptions.builder().batchTokens(bad).build())
          .withMessageContainingAll("batchTokens", String.valueOf(bad));
      assertThatIllegalArgumentException()
          .isThrownBy(() -> EngineOptions.builder().maxTokens(bad).build())
          .withMessageContainingAll("maxTokens", String.valueOf(bad));
    }
  }
}
