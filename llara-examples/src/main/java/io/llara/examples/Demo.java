package io.llara.examples;

import io.llara.retrieval.Corpus;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;

/** The bundled demonstration: a hundred short texts. */
final class Demo {
  private Demo() {}

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
