package io.llara.train.mining;

import com.google.common.hash.HashCode;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.io.StrictJson;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.DigestTable;
import io.llara.train.data.TrainingPair;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;

/**
 * The distinct passages of pairs, positives and negatives, as a collection: put aside in a file in
 * BEIR format. The id of a passage is a digest of its text, the same in whatever files it stands.
 */
final class OwnPassages implements AutoCloseable {
  private final TemporaryPath file = TemporaryPath.file("llara-mining");
  private final DigestTable seen = new DigestTable();
  private final Writer out;

  OwnPassages() {
    try {
      out = Files.newBufferedWriter(file.path());
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
    HashCode key = PairTexts.key(passage);
    int before = seen.size();
    if (seen.add(key) < before) {
      return;
    }
    try {
      JsonObject json = new JsonObject();
      json.addProperty("_id", key.toString());
      json.addProperty("text", passage);
      out.write(StrictJson.compact(json) + "\n");
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
    return new Corpus(name, () -> Files.newInputStream(file.path()));
  }

  private LlaraException failed(IOException e) {
    return new LlaraException("%s: cannot be written: %s".formatted(file.path(), e), e);
  }

  @Override
  public void close() {
    try (file) {
      out.close();
    } catch (IOException e) {
      throw failed(e);
    }
  }
}
