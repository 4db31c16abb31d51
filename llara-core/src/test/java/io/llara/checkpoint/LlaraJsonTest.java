package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.ModelLoadException;
import io.llara.TextModes;
import io.llara.UnsupportedModelException;
import io.llara.prompt.PromptTemplate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LlaraJsonTest {
  private static final PromptTemplate CUSTOM =
      PromptTemplate.builder("mine")
          .selfPrefix("passage: \"<é")
          .nextPrefix("query: ")
          .eos()
          .build();

  @TempDir Path dir;

  private LlaraJson read(String json) {
    return LlaraJson.read(Checkpoints.text(dir.resolve("llara.json"), json));
  }

  @Test
  void readsTheWholeForm() {
    LlaraJson json =
        read(
            """
            {"formatVersion": 1, "template": "llama2vec", "pooling": "mean_of_markers",
             "normalize": false, "maxTokens": {"query": 64, "passage": 512}}
            """);
    assertThat(json)
        .isEqualTo(
            new LlaraJson(
                PromptTemplate.LLAMA2VEC, false, OptionalInt.of(64), OptionalInt.of(512)));
  }

  @Test
  void mostOfItMayBeAbsentOrNull() {
    LlaraJson expected =
        new LlaraJson(PromptTemplate.PAPER, true, OptionalInt.empty(), OptionalInt.empty());
    assertThat(read("{\"formatVersion\": 1, \"template\": \"llara-paper\"}")).isEqualTo(expected);
    assertThat(
            read(
                "{\"formatVersion\": 1, \"template\": \"llara-paper\", \"pooling\": null,"
                    + " \"normalize\": null, \"maxTokens\": {\"query\": null}}"))
        .isEqualTo(expected);
  }

  @Test
  void modesAreKeptAndAnUnknownOneIsNamed() {
    for (TextModes modes : TextModes.values()) {
      LlaraJson json =
          new LlaraJson(PromptTemplate.PAPER, true, OptionalInt.of(64), OptionalInt.of(160), modes);
      assertThat(read(json.toJson())).isEqualTo(json);
      assertThat(json.toJson().contains("modes")).isEqualTo(modes != TextModes.N2S);
    }
    assertThatThrownBy(
            () -> read("{\"formatVersion\": 1, \"template\": \"llara-paper\", \"modes\": \"S2S\"}"))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("key 'modes' is 'S2S'; expected n2s, s2s or n2n");
  }

  @Test
  void whatIsWrittenReadsBack() throws IOException {
    for (PromptTemplate template :
        new PromptTemplate[] {PromptTemplate.LLAMA2VEC, PromptTemplate.PAPER, CUSTOM}) {
      LlaraJson json = new LlaraJson(template, true, OptionalInt.of(7), OptionalInt.empty());
      json.write(dir);
      assertThat(LlaraJson.read(dir.resolve("llara.json"))).isEqualTo(json);
      assertThat(read(json.toJson())).isEqualTo(json);
    }
    try (Stream<Path> files = Files.list(dir)) {
      assertThat(files).containsExactly(dir.resolve("llara.json"));
    }
  }

  @Test
  void aNamedTemplateIsWrittenByName() {
    LlaraJson json =
        new LlaraJson(PromptTemplate.LLAMA2VEC, true, OptionalInt.empty(), OptionalInt.empty());
    assertThat(json.toJson())
        .isEqualTo(
            """
            {
              "formatVersion": 1,
              "template": "llama2vec",
              "pooling": "mean_of_markers",
              "normalize": true
            }
            """);
    PromptTemplate impostor = PromptTemplate.builder("llama2vec").eos().build();
    LlaraJson other = new LlaraJson(impostor, true, OptionalInt.empty(), OptionalInt.empty());
    assertThat(read(other.toJson()).template()).isEqualTo(impostor);
  }

  @Test
  void refusesANewerVersionBeforeAnythingElse() {
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> read("{\"formatVersion\": 2, \"novelty\": 1}"))
        .withMessageContaining("llara.json: key 'formatVersion' is 2")
        .withMessageContaining("supported: up to 1");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "{};key 'formatVersion' is missing",
        "{\"formatVersion\": 0};key 'formatVersion' is 0; expected 1 to 1",
        "{\"formatVersion\": \"1\"};key 'formatVersion' is the string '1'",
        "{\"formatVersion\": 1};key 'template' is missing; expected a name or an object",
        "{\"formatVersion\": 1, \"template\": \"x\"};key 'template' is 'x'",
        "{\"formatVersion\": 1, \"template\": 3};key 'template' is 3; expected an object",
        "{\"formatVersion\": 1, \"template\": {}};key 'template': prompt template",
        "{\"formatVersion\": 1, \"template\": \"llama2vec\", \"poolin\": 1};unknown key 'poolin'",
        "{\"formatVersion\": 1, \"template\": \"llama2vec\", \"pooling\": \"cls\"};is 'cls'",
        "{\"formatVersion\": 1, \"template\": \"llama2vec\", \"pooling\": \"last_token\"};"
            + "expected 'mean_of_markers'; which is what the template llama2vec says",
        "{\"formatVersion\": 1, \"template\": \"llama2vec\", \"normalize\": 1};'normalize' is 1",
        "{\"formatVersion\": 1, \"template\": \"llama2vec\", \"maxTokens\": 5};'maxTokens' is 5",
        "{\"formatVersion\": 1, \"template\": \"llama2vec\", \"maxTokens\": {\"query\": 0}};"
            + "maxTokens.query is 0; expected 1 or more",
        "{\"formatVersion\": 1, \"template\": \"llama2vec\", \"maxTokens\": {\"doc\": 1}};"
            + "unknown key 'maxTokens.doc'; known here: query, passage"
      })
  void namesAWrongKey(String json, String message) {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> read(json))
        .withMessageStartingWith(dir.resolve("llara.json").toString())
        .withMessageContaining(message.replace("; which", ", which"));
  }

  @Test
  void namesTheKnownTemplates() {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> read("{\"formatVersion\": 1, \"template\": \"x\"}"))
        .withMessageEndingWith("expected llama2vec, llara-paper, or an object");
  }

  @Test
  void refusesAnUnknownKeyOfATemplateByName() {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(
            () ->
                read(
                    "{\"formatVersion\": 1, \"template\": {\"name\": \"n\", \"pooling\":"
                        + " \"last_token\", \"self\": {}, \"next\": {}, \"surplus\": 1}}"))
        .withMessageContaining("llara.json: key 'template'")
        .withMessageContaining("surplus");
  }

  @Test
  void checksItsOwnArguments() {
    assertThatThrownBy(() -> new LlaraJson(CUSTOM, true, OptionalInt.empty(), OptionalInt.of(-1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("maxTokens.passage is -1; expected 1 or more");
  }
}
