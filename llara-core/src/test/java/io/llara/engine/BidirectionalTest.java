package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import com.google.gson.Gson;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.testing.Directories;
import io.llara.testing.Stories;
import io.llara.testing.Vectors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A model with "is_causal": false; hidden states by benchmarks/scripts/bidirectional.py. */
class BidirectionalTest {
  private record Expected(int[] ids, float[] first, float[] last) {}

  @TempDir Path dir;

  @BeforeEach
  void write() throws IOException {
    Directories.copy(Stories.dir(), dir);
    Path config = dir.resolve("config.json");
    String json = Files.readString(config);
    Files.writeString(config, json.replaceFirst("\\{", "{\"is_causal\": false,"));
  }

  private EncodingEngine engine() {
    return EncodingEngine.builder()
        .computeType(ComputeType.FLOAT32)
        .open(CheckpointDirectory.open(dir));
  }

  @Test
  void hiddenStatesAreThoseOfTransformers() throws IOException {
    Path file = Stories.dir().resolveSibling("bidirectional/expected.json");
    Expected[] expected = new Gson().fromJson(Files.readString(file), Expected[].class);
    List<Prompt> prompts = Arrays.stream(expected).map(Expected::ids).map(Prompt::plain).toList();
    try (EncodingEngine engine = engine()) {
      List<float[]> states = engine.hiddenStates(prompts);
      for (int i = 0; i < expected.length; i++) {
        int hidden = engine.config().hiddenSize();
        float[] all = states.get(i);
        Vectors.assertSame(Arrays.copyOf(all, hidden), expected[i].first());
        Vectors.assertSame(
            Arrays.copyOfRange(all, all.length - hidden, all.length), expected[i].last());
      }
      // The last layer of an encoding computes the pooled rows alone.
      Prompt prompt =
          PromptBuilder.ofIds(new int[] {1}, new int[] {434}, new int[] {434}, 1)
              .fromIds(new int[] {346, 275, 268, 315, 418, 419, 13}, Mode.SELF);
      assertThat(prompt.ids()).isEqualTo(expected[1].ids());
      Vectors.assertSame(engine.encode(prompt).get(Mode.SELF), expected[1].last());
    }
  }

  @Test
  void bothModesTakeTwoPasses() {
    try (Encoder encoder = Encoder.builder(dir).template("llara-paper").threads(1).build();
        EncodingEngine engine = engine()) {
      Vectors.assertSame(
          encoder.encodeBoth("a red bird").next(), encoder.encode("a red bird", Mode.NEXT));
      Vectors.assertSame(
          encoder.encodeBoth("a red bird").self(), encoder.encode("a red bird", Mode.SELF));

      Prompt joint = encoder.prompts().buildJoint("a red bird", 64);
      assertThatIllegalArgumentException()
          .isThrownBy(() -> engine.submit(joint))
          .withMessageContaining("is_causal");
    }
  }
}
