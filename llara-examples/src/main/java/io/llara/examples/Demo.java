package io.llara.examples;

import io.llara.LlaraException;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.Corpus;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * The bundled demonstration: a tiny language model (stories260k, 0.26 million parameters, MIT
 * licence) and a hundred short texts. The model was never trained to embed; it shows that
 * everything works, not what good results look like.
 */
final class Demo {
  /** The note that a command prints when the model is used. */
  static final String NOTICE =
      "no --model given: using the bundled stories260k, a tiny language model for demonstration,"
          + " not a trained encoder";

  /** The template that the model's tokenizer has tokens for. */
  static final String TEMPLATE = "llara-paper";

  private static final List<String> MODEL_FILES =
      List.of(
          "config.json",
          "llara.json",
          "model.safetensors",
          "tokenizer.json",
          "tokenizer_config.json",
          "special_tokens_map.json");

  private Demo() {}

  /** Copies the model to a temporary directory, which goes away with the process. */
  static Path model() {
    try {
      Path directory = TemporaryPath.folder("llara-demo").path();
      for (String name : MODEL_FILES) {
        try (InputStream in = open("model/" + name)) {
          Files.copy(in, directory.resolve(name));
        }
      }
      return directory;
    } catch (IOException e) {
      throw new LlaraException("the bundled model cannot be unpacked: " + Messages.reason(e), e);
    }
  }

  /** Returns the collection of texts. */
  static Corpus corpus() {
    return new Corpus("the bundled corpus", () -> open("corpus.jsonl"));
  }

  private static InputStream open(String name) throws IOException {
    InputStream in = Demo.class.getResourceAsStream("demo/" + name);
    if (in == null) {
      throw new FileNotFoundException("there is no bundled " + name);
    }
    return in;
  }
}
