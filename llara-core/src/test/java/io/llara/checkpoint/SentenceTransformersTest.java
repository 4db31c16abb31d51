package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.gson.Gson;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.prompt.Pooling;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.Stories;
import io.llara.testing.Vectors;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Directories of the sentence-transformers library: vectors as of that library, written by
 * benchmarks/scripts/sentence-transformers.py.
 */
class SentenceTransformersTest {
  private record Expected(String text, float[] query, float[] passage) {}

  @TempDir Path dir;

  private Path directory(String name) throws IOException {
    Directories.copy(Stories.dir(), dir);
    dir.resolve("llara.json").toFile().delete();
    dir.resolve("special_tokens_map.json").toFile().delete();
    Path over = Stories.dir().resolveSibling("sentence-transformers").resolve(name);
    try (Stream<Path> files = Files.walk(over)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Path target = dir.resolve(over.relativize(file).toString());
        Files.createDirectories(target.getParent());
        Files.copy(file, target, StandardCopyOption.REPLACE_EXISTING);
      }
    }
    return dir;
  }

  private void change(String file, String old, String replacement) throws IOException {
    Path path = dir.resolve(file);
    String json = Files.readString(path);
    assertThat(json).contains(old);
    Files.writeString(path, json.replace(old, replacement));
  }

  private static Encoder load(Path dir) {
    return Encoder.builder(dir).computeType(ComputeType.FLOAT32).threads(1).build();
  }

  @ParameterizedTest
  @ValueSource(strings = {"last-token", "mean", "old-files", "dense"})
  void vectorsAreThoseOfTheLibrary(String name) throws IOException {
    directory(name);
    Expected[] all =
        new Gson().fromJson(Files.readString(dir.resolve("expected.json")), Expected[].class);
    try (Encoder encoder = load(dir)) {
      assertThat(encoder.normalizes()).isEqualTo(name.matches("last-token|dense"));
      for (Expected expected : all) {
        assertThat(encoder.dimension()).isEqualTo(expected.query().length);
        Vectors.assertSame(encoder.encodeQuery(expected.text()), expected.query());
        Vectors.assertSame(encoder.encodePassage(expected.text()), expected.passage());
      }
    }
    // The same recipe as a file of ours.
    LlaraJson found = CheckpointDirectory.open(dir).llaraJson().orElseThrow();
    LlaraJson recipe = found.withDense(found.dense().map(this::besideOurFile));
    recipe.write(dir);
    assertThat(LlaraJson.read(dir.resolve("llara.json"))).isEqualTo(recipe);
    for (String file : new String[] {"modules.json", "1_Pooling/config.json"}) {
      Files.delete(dir.resolve(file));
    }
    try (Encoder encoder = load(dir)) {
      Vectors.assertSame(encoder.encodeQuery(all[0].text()), all[0].query());
    }
  }

  private DenseLayer.Location besideOurFile(DenseLayer.Location layer) {
    try {
      Files.copy(dir.resolve(layer.file()), dir.resolve(DenseLayer.FILE_NAME));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new DenseLayer.Location(DenseLayer.FILE_NAME, layer.activation());
  }

  @Test
  void aLinearLayerElsewhereIsNotWrittenAsOurs() throws IOException {
    directory("dense");
    LlaraJson recipe = CheckpointDirectory.open(dir).llaraJson().orElseThrow();

    assertThatThrownBy(() -> recipe.write(dir))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("2_Dense");
  }

  @Test
  void whatWeWriteIsWhatWeRead() throws IOException {
    Path model = directory("last-token");
    LlaraJson recipe = CheckpointDirectory.open(model).llaraJson().orElseThrow();
    for (Pooling pooling : new Pooling[] {Pooling.LAST_TOKEN, Pooling.MEAN_OF_PROMPT}) {
      PromptTemplate template =
          PromptTemplate.builder("sentence-transformers")
              .selfPrefix("passage: ")
              .nextPrefix("query: ")
              .joined()
              .pooling(pooling)
              .build();
      LlaraJson written =
          new LlaraJson(
                  template, pooling == Pooling.LAST_TOKEN, OptionalInt.of(40), OptionalInt.of(40))
              .withDimension(OptionalInt.of(32));

      PythonFiles.write(model, written);

      assertThat(CheckpointDirectory.open(model).llaraJson()).contains(written);
      assertThat(model.resolve("README.md")).doesNotExist();
    }
    PythonFiles.remove(model);
    assertThat(CheckpointDirectory.open(model).llaraJson()).isEmpty();
    assertThat(recipe.template().joined()).isTrue();
  }

  /** The vectors come out of that README by benchmarks/scripts/readme-vectors.py. */
  @Test
  void whatTheLibraryCannotSayIsSaidInPython() throws IOException {
    Path model = Directories.copy(Stories.dir(), dir);
    Path readme = Stories.dir().resolveSibling("python-readme");
    LlaraJson recipe =
        new LlaraJson(PromptTemplate.PAPER, true, OptionalInt.of(64), OptionalInt.of(64));
    recipe.write(model);

    PythonFiles.write(model, recipe);

    assertThat(model.resolve("modules.json")).doesNotExist();
    assertThat(model.resolve("README.md")).hasSameTextualContentAs(readme.resolve("README.md"));
    Expected[] all =
        new Gson().fromJson(Files.readString(readme.resolve("expected.json")), Expected[].class);
    try (Encoder encoder = load(model)) {
      for (Expected expected : all) {
        Vectors.assertSame(encoder.encodeQuery(expected.text()), expected.query());
        Vectors.assertSame(encoder.encodePassage(expected.text()), expected.passage());
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "1_Pooling/config.json | \"lasttoken\" | \"cls\" | key 'pooling_mode' is 'cls', which is not supported",
        "1_Pooling/config.json | \"lasttoken\" | \"max\" | supported: lasttoken, mean",
        "1_Pooling/config.json | \"lasttoken\" | [\"mean\"] | expected a string",
        "modules.json | modules.normalize.Normalize | modules.dense.Dense | 2_Normalize",
        "1_Pooling/config.json | 64 | 65 | key 'embedding_dimension' is 65",
        "1_Pooling/config.json | \"include_prompt\" | \"prompts\" | unknown key 'prompts'",
        "modules.json | modules.normalize.Normalize | modules.cnn.CNN | CNN, which is not supported",
        "modules.json | sentence_transformers.base.modules.normalize | custom_st.own | custom_st.own.Normalize",
        "modules.json | \"path\": \"\" | \"path\": \"0_Transformer\" | key 'modules[0].path' is '0_Transformer'",
        "modules.json | 1_Pooling | ../pooling | key 'modules[1].path' is '../pooling'",
        "modules.json | 1_Pooling | 3_Pooling | config.json: cannot be read: no such file",
        "modules.json | ] | `` | not valid JSON",
        "modules.json | \"type\" | \"kind\" | type' is missing",
        "config_sentence_transformers.json | \"similarity_fn_name\" | \"truncate_dim\": 0, \"x\" | dimension is 0",
        "config_sentence_transformers.json | \"similarity_fn_name\" | \"truncate_dim\": 65, \"x\" | 65 components",
        "config_sentence_transformers.json | \"query: \" | 7 | key 'prompts.query' is 7; expected a string",
        "sentence_bert_config.json | last_hidden_state | logits | 'logits', which is not supported",
        "sentence_bert_config.json | feature-extraction | text-generation | transformer_task",
        "sentence_bert_config.json | \"modality_config\" | \"max_seq_length\": 0, \"modality_config\" | maxTokens.query is 0",
        "sentence_bert_config.json | \"modality_config\" | \"do_lower_case\": true, \"modality_config\" | do_lower_case",
      })
  void whatCannotBeDoneIsNamed(String file, String old, String replacement, String message)
      throws IOException {
    directory("last-token");
    change(file, old, replacement);

    assertThatThrownBy(() -> load(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining(message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "activation.Tanh | activation.ReLU | torch.nn.modules.activation.ReLU', which is not supported",
        "\"bias\" | \"dropout\" | unknown key 'dropout'",
        "sentence_embedding | token_embeddings | 'token_embeddings', which is not supported",
      })
  void aLinearLayerThatCannotBeDoneIsNamed(String old, String replacement, String message)
      throws IOException {
    directory("dense");
    change("2_Dense/config.json", old, replacement);

    assertThatThrownBy(() -> load(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining(message);
  }

  @Test
  void aLinearLayerIsWrittenForTheLibraryToo() throws IOException {
    directory("dense");
    LlaraJson found = CheckpointDirectory.open(dir).llaraJson().orElseThrow();
    LlaraJson recipe = found.withDense(found.dense().map(this::besideOurFile));
    byte[] weights = Files.readAllBytes(dir.resolve("2_Dense/model.safetensors"));
    for (String file : new String[] {"2_Dense/model.safetensors", "2_Dense/config.json"}) {
      Files.delete(dir.resolve(file));
    }

    PythonFiles.write(dir, recipe);

    assertThat(CheckpointDirectory.open(dir).llaraJson()).contains(found);
    assertThat(dir.resolve("2_Dense/model.safetensors")).hasBinaryContent(weights);
  }

  @Test
  void aMeanWithoutThePromptIsRefused() throws IOException {
    directory("old-files");
    change("1_Pooling/config.json", "{", "{\"include_prompt\": false,");

    assertThatThrownBy(() -> CheckpointDirectory.open(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("key 'include_prompt' is false with the mean");
  }

  @Test
  void ourOwnFileGoesFirst() throws IOException {
    directory("last-token");
    new LlaraJson(PromptTemplate.PAPER, true, OptionalInt.empty(), OptionalInt.empty()).write(dir);
    try (Encoder encoder = load(dir)) {
      assertThat(encoder.template()).isEqualTo(PromptTemplate.PAPER);
      assertThat(encoder.encode("a", Mode.SELF)).hasSize(64);
    }
  }
}
