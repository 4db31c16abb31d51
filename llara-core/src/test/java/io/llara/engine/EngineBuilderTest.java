package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.testing.Stories;
import java.util.List;
import org.junit.jupiter.api.Test;

class EngineBuilderTest {

  @Test
  void namesAllThatIsOutOfRange() {
    for (int bad : List.of(0, -1, Integer.MIN_VALUE)) {
      EngineBuilder builder = EncodingEngine.builder().threads(bad).batchTokens(bad).maxTokens(bad);

      assertThat(builder.problems())
          .hasSize(3)
          .anySatisfy(problem -> assertThat(problem).startsWith("threads is " + bad))
          .anySatisfy(problem -> assertThat(problem).startsWith("batchTokens is " + bad))
          .anySatisfy(problem -> assertThat(problem).startsWith("maxTokens is " + bad));
    }
    assertThat(EncodingEngine.builder().problems()).isEmpty();
  }

  @Test
  void refusesToOpenWithSettingsOutOfRange() {
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                EncodingEngine.builder()
                    .threads(0)
                    .maxTokens(1 << 30)
                    .open(CheckpointDirectory.open(Stories.dir())))
        .withMessageContainingAll("threads is 0", "maxTokens is 1073741824");
  }
}
