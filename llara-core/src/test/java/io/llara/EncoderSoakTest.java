package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.prompt.PromptTemplate;
import io.llara.testing.ChildJvm;
import io.llara.testing.Leaks;
import io.llara.testing.ResidentSet;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import io.llara.testing.Vectors;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Many encodes leave the resident set as it is. */
@Tag("nightly")
class EncoderSoakTest {
  private static final int ENCODES = 20_000;

  @Test
  @Timeout(600)
  void theResidentSetStaysFlat() throws Exception {
    ResidentSet.assumeKnown();

    // The heap is all there from the start, so that what grows is native.
    ChildJvm.run(
        List.of("-Xms64m", "-Xmx64m", "-XX:+AlwaysPreTouch"),
        Soak.class,
        Stories.dir().toAbsolutePath().toString());
  }

  /** Encodes again and again; some calls throw. */
  static final class Soak {
    private Soak() {}

    public static void main(String[] args) throws Exception {
      List<String> texts = Texts.random(500, 60, 3);
      try (Encoder encoder =
          Encoder.builder(Path.of(args[0]))
              .template(PromptTemplate.PAPER)
              .computeType(ComputeType.FLOAT32)
              .threads(2)
              .build()) {
        encode(encoder, texts);
        long liveBefore = Leaks.liveObjects();
        long residentBefore = ResidentSet.kib();
        encode(encoder, texts);
        assertThat(Leaks.liveObjects()).isEqualTo(liveBefore);
        long resident = ResidentSet.kib();
        System.out.println("resident KiB before and after: " + residentBefore + ", " + resident);
        assertThat(resident).isLessThan(residentBefore + residentBefore / 50);
      }
    }

    private static void encode(Encoder encoder, List<String> texts) {
      for (int i = 0; i < ENCODES; i++) {
        String text = texts.get(i % texts.size());
        switch (i % 4) {
          case 0 -> Vectors.assertUnit(encoder.encodeBoth(text).next());
          case 1 ->
              assertThatThrownBy(() -> encoder.encodeQuery(text + "\ud800"))
                  .isInstanceOf(TokenizationException.class);
          default -> Vectors.assertUnit(encoder.encodePassage(text));
        }
      }
    }
  }
}
