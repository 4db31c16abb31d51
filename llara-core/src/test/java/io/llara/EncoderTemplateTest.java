package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.MarkedStories;
import io.llara.testing.Stories;
import io.llara.testing.Vectors;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Where the template and the other settings come from: builder, llara.json, the tokenizer's
 * markers, the paper.
 */
class EncoderTemplateTest {
  private static final PromptTemplate OWN =
      PromptTemplate.builder("own").prefix("text:").eos().build();

  @TempDir Path temp;

  /** Opens a model, returns its template and what was logged meanwhile. */
  private record Opened(PromptTemplate template, int maxTokens, String log) {
    static Opened open(EncoderBuilder builder) {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      PrintStream standardError = System.err;
      System.setErr(new PrintStream(bytes, true, StandardCharsets.UTF_8));
      try (Encoder encoder = builder.threads(1).build()) {
        return new Opened(
            encoder.template(), encoder.maxTokens(), bytes.toString(StandardCharsets.UTF_8));
      } finally {
        System.setErr(standardError);
      }
    }
  }

  private static void writeSettings(
      Path dir, PromptTemplate template, boolean normalize, int query, int passage) {
    new LlaraJson(template, normalize, OptionalInt.of(query), OptionalInt.of(passage)).write(dir);
  }

  @Test
  void aPlainLanguageModelNeedsATemplate() throws IOException {
    Directories.copy(Stories.dir(), temp);
    Files.delete(temp.resolve("llara.json"));

    assertThatThrownBy(() -> Encoder.load(temp))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageStartingWith(temp.toString())
        .hasMessageContainingAll("llara.json", "modules.json", "name a template", "llara-paper");
    assertThat(Opened.open(Encoder.builder(temp).template("llara-paper")).template())
        .isEqualTo(PromptTemplate.PAPER);
  }

  @Test
  void markersInTheTokenizerMeanTheReleasedRecipe() {
    Opened opened = Opened.open(Encoder.builder(MarkedStories.write(temp)));

    assertThat(opened.template()).isEqualTo(PromptTemplate.LLAMA2VEC);
    assertThat(opened.log()).doesNotContain("not trained");
  }

  @Test
  void theCheckpointsOwnWordGoesBeforeItsMarkers() {
    writeSettings(MarkedStories.write(temp), OWN, true, 40, 80);

    Opened opened = Opened.open(Encoder.builder(temp));

    assertThat(opened.template()).isEqualTo(OWN);
    assertThat(opened.log()).doesNotContain("not trained");
  }

  @Test
  void theBuildersWordGoesBeforeTheCheckpoints() {
    writeSettings(MarkedStories.write(temp), OWN, true, 40, 80);

    assertThat(Opened.open(Encoder.builder(temp).template("llara-paper")).template())
        .isEqualTo(PromptTemplate.PAPER);
    assertThat(Opened.open(Encoder.builder(temp).template(PromptTemplate.LLAMA2VEC)).template())
        .isEqualTo(PromptTemplate.LLAMA2VEC);
  }

  @Test
  void ofTwoWordsOfTheBuilderTheLaterCounts() {
    assertThat(
            Opened.open(Encoder.builder(Stories.dir()).template("llara-paper").template(OWN))
                .template())
        .isEqualTo(OWN);
    assertThat(
            Opened.open(Encoder.builder(Stories.dir()).template(OWN).template("llara-paper"))
                .template())
        .isEqualTo(PromptTemplate.PAPER);
  }

  @Test
  void theReleasedRecipeNeedsItsMarkers() {
    assertThatThrownBy(() -> Encoder.builder(Stories.dir()).template("llama2vec").build())
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContainingAll("<s1>", "<s16>", "llama2vec");
  }

  @Test
  void lengthsComeFromTheCheckpoint() {
    Directories.copy(Stories.dir(), temp);
    writeSettings(temp, OWN, true, 40, 80);

    assertThat(Opened.open(Encoder.builder(temp)).maxTokens()).isEqualTo(80);
    assertThat(Opened.open(Encoder.builder(temp).maxTokens(33)).maxTokens()).isEqualTo(33);
  }

  @Test
  void lengthsEndWhereTheModelsPositionsDo() {
    Directories.copy(Stories.dir(), temp);
    writeSettings(temp, OWN, true, 40, 8000);

    assertThat(Opened.open(Encoder.builder(temp)).maxTokens()).isEqualTo(512);
  }

  @Test
  void normalisationComesFromTheCheckpointUnlessToldOtherwise() {
    Directories.copy(Stories.dir(), temp);
    writeSettings(temp, OWN, false, 40, 80);
    try (Encoder asTrained = Encoder.builder(temp).threads(1).build();
        Encoder told = Encoder.builder(temp).threads(1).normalize(true).build()) {
      assertThat(Vectors.length(asTrained.encodeQuery("a dog"))).isGreaterThan(1.5);
      Vectors.assertUnit(told.encodeQuery("a dog"));
    }
  }
}
