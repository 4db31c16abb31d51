package io.llara.train.mining;

import com.google.gson.stream.JsonWriter;
import io.llara.LlaraException;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.Corpus;
import io.llara.train.data.TrainingPair;
import java.io.Closeable;
import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The distinct passages of pairs, positives and negatives, as a collection: put aside in a file in
 * BEIR format. The id of a passage is a digest of its text, the same in whatever files it stands.
 */
final class OwnPassages implements Closeable {
  private final TemporaryPath file = TemporaryPath.file("llara-mining");
  private final KeyTable seen = new KeyTable();
  private final Writer out;

  OwnPassages() {
    try {
      out = Files.newBufferedWriter(file.path(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      file.close();
      throw failed(e);
    }
  }

  /** Adds the passages of a pair. */
  void add(TrainingPair pair) {
    pair.positives().forEach(this::add);
    pair.negatives().forEach(this::add);
  }

  private void add(String passage) {
    TextKey key = TextKey.of(passage);
    int before = seen.size();
    if (seen.add(key) < before) {
      return;
    }
    try {
      // Not closed: that would close the file.
      JsonWriter json = new JsonWriter(out);
      json.beginObject();
      json.name("_id").value(key.hex());
      json.name("text").value(passage);
      json.endObject();
      json.flush();
      out.write('\n');
    } catch (IOException e) {
      throw failed(e);
    }
  }

  /**
   * Ends the writing and returns the collection.
   *
   * @param name what messages call it
   */
  Corpus corpus(String name) {
    try {
      out.close();
    } catch (IOException e) {
      throw failed(e);
    }
    Path path = file.path();
    return new Corpus(name, () -> Files.newInputStream(path));
  }

  private LlaraException failed(IOException e) {
    return new LlaraException("%s: cannot be written: %s".formatted(file.path(), e), e);
  }

  @Override
  public void close() {
    try {
      out.close();
    } catch (IOException e) {
      throw failed(e);
    } finally {
      file.close();
    }
  }
}
