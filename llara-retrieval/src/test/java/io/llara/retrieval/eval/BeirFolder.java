package io.llara.retrieval.eval;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPOutputStream;

/** A small collection in BEIR format: eight documents, two of them blank, and four queries. */
final class BeirFolder {
  static final String CORPUS =
      """
      {"_id": "d1", "title": "Llamas", "text": "Llamas carry loads over mountain paths."}
      {"_id": "blank1", "title": " ", "text": ""}
      {"_id": "d2", "title": "", "text": "A lighthouse warns ships of the rocks."}
      {"_id": "d3", "title": "Bread", "text": "Dough must rest before it is baked."}
      {"_id": "d4", "text": "Ships carry loads over the sea."}
      {"_id": "blank2", "text": ""}
      {"_id": "q1", "text": "The mountain is high."}
      {"_id": "d5", "text": "A baker bakes bread and cake."}
      """;

  static final String QUERIES =
      """
      {"_id": "q1", "text": "Who walks over a mountain with loads?"}
      {"_id": "q2", "text": "baking bread"}
      {"_id": "q3", "text": "zebra"}
      {"_id": "unjudged", "text": "ships"}
      {"_id": "q4", "text": " "}
      """;

  static final String QRELS =
      """
      query-id\tcorpus-id\tscore
      q1\td1\t2
      q1\td4\t1
      q2\td3\t1
      q2\td5\t1
      q2\td2\t0
      q3\td2\t1
      """;

  private final Path path;

  BeirFolder(Path path) {
    this.path = path;
    corpus(CORPUS).queries(QUERIES).qrels("test", QRELS);
  }

  Path path() {
    return path;
  }

  BeirFolder corpus(String lines) {
    return write("corpus.jsonl", lines);
  }

  BeirFolder queries(String lines) {
    return write("queries.jsonl", lines);
  }

  BeirFolder qrels(String split, String lines) {
    return write("qrels/" + split + ".tsv", lines);
  }

  BeirFolder write(String name, String content) {
    try {
      Path file = path.resolve(name);
      Files.createDirectories(file.getParent());
      Files.writeString(file, content);
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Replaces a file by its gzipped form. */
  BeirFolder zip(String name) {
    try {
      Path plain = path.resolve(name);
      try (OutputStream out =
          new GZIPOutputStream(Files.newOutputStream(path.resolve(name + ".gz")))) {
        out.write(Files.readString(plain).getBytes(StandardCharsets.UTF_8));
      }
      Files.delete(plain);
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
