package io.llara.train.contrastive;

import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.StrictJson;
import io.llara.io.TemporaryPath;
import io.llara.train.data.Dataset;
import io.llara.train.data.DatasetReader;
import io.llara.train.data.TrainingPair;
import io.llara.train.run.Manifest;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * The pairs of one refresh: {@code OUT/refresh/step-00000200/} with {@code pairs.jsonl} and {@code
 * refresh.json}, which is written last and holds the digest of the pairs: without it, or with
 * another, they are not whole.
 */
final class RefreshedPairs {
  /** The folder below {@code OUT}. */
  static final String FOLDER = "refresh";

  static final String PAIRS = "pairs.jsonl";
  private static final String RECORD = "refresh.json";
  private static final String MODEL = "model";
  private static final String MINED = "mined.jsonl";
  private static final String VERSION = "formatVersion";
  private static final int FORMAT_VERSION = 1;
  private static final String SHA_256 = "sha256";

  private final long step;
  private final Path dir;

  /** Names the pairs of a refresh after a step; they need not be there. */
  RefreshedPairs(Path out, long step) {
    this.step = step;
    this.dir = out.resolve(FOLDER).resolve(String.format(Locale.ROOT, "step-%08d", step));
  }

  /** Returns the file of the pairs. */
  Path pairs() {
    return dir.resolve(PAIRS);
  }

  /** Returns where the model lies while the pairs are made. */
  Path model() {
    return dir.resolve(MODEL);
  }

  /** Returns where a refresher writes. */
  Path mined() {
    return dir.resolve(MINED);
  }

  /** Returns whether the pairs are there and whole. Reads them through. */
  boolean areWhole() {
    Path record = dir.resolve(RECORD);
    if (!Files.exists(record) || !Files.exists(pairs())) {
      return false;
    }
    JsonSection json = StrictJson.file(record);
    json.requireVersion(VERSION, FORMAT_VERSION);
    return json.requiredString(SHA_256).equals(Manifest.DataFile.of(pairs()).sha256());
  }

  /**
   * Fails unless the pairs are there and whole.
   *
   * @throws LlaraException naming the file
   */
  void requireWhole() {
    if (!areWhole()) {
      throw new LlaraException(
          "%s: is missing or damaged; the run was trained with it after step %d and cannot go on"
              .formatted(pairs(), step));
    }
  }

  /** Returns where processes write their shares of the work. */
  Path shares() {
    return NegativeRefresher.shares(mined());
  }

  /** Makes the folders, and removes what an earlier attempt left there. */
  void prepare() {
    // The record first: without it nothing looks whole.
    List.of(dir.resolve(RECORD), pairs(), mined(), model(), shares())
        .forEach(RefreshedPairs::delete);
    try {
      Files.createDirectories(shares());
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be created: %s".formatted(shares(), e), e);
    }
  }

  /**
   * Takes over what a refresher wrote, and deletes it. Lines are compared with those before: only
   * negatives may differ.
   *
   * @param before the pairs as they were
   * @param least how many negatives a pair needs; one with fewer keeps those it had
   * @throws LlaraException if the file does not hold these pairs; it is left as it is then
   */
  void take(Dataset<TrainingPair> before, int least) {
    Counts counts = new Counts();
    AtomicFiles.writeText(pairs(), text -> merge(before, least, text, counts));
    JsonObject json = new JsonObject();
    json.addProperty(VERSION, FORMAT_VERSION);
    json.addProperty("step", step);
    json.addProperty("pairs", counts.pairs);
    json.addProperty("kept", counts.kept);
    json.addProperty(SHA_256, Manifest.DataFile.of(pairs()).sha256());
    AtomicFiles.writeJson(dir.resolve(RECORD), json);
    delete(mined());
  }

  private static final class Counts {
    long pairs;
    long kept;
  }

  private void merge(Dataset<TrainingPair> before, int least, Writer text, Counts counts)
      throws IOException {
    try (DatasetReader<TrainingPair> old = before.open();
        DatasetReader<TrainingPair> mined = Dataset.ofPairs(List.of(mined())).open()) {
      while (old.hasNext() && mined.hasNext()) {
        TrainingPair was = old.next();
        TrainingPair is = mined.next();
        if (!is.query().equals(was.query()) || !is.positives().equals(was.positives())) {
          throw new LlaraException(
              "%s: differs from %s in its query or positives; expected the same pairs in the same order"
                  .formatted(is.origin(), was.origin()));
        }
        boolean few = is.negatives().size() < least;
        text.write(line(was, few ? was.negatives() : is.negatives()));
        counts.pairs++;
        counts.kept += few ? 1 : 0;
      }
      if (old.hasNext() || mined.hasNext()) {
        throw new LlaraException(
            "%s: has %s pairs than there were before, %d of both; expected the same pairs"
                .formatted(mined(), old.hasNext() ? "fewer" : "more", counts.pairs));
      }
    }
  }

  private static String line(TrainingPair pair, List<String> negatives) {
    JsonObject json = new JsonObject();
    json.addProperty("query", pair.query());
    json.add("pos", StrictJson.tree(pair.positives()));
    json.add("neg", StrictJson.tree(negatives));
    return StrictJson.compact(json) + "\n";
  }

  /** Deletes the model and the shares, if they are there. */
  void removeInputs() {
    delete(model());
    delete(shares());
  }

  private static void delete(Path path) {
    try {
      TemporaryPath.delete(path);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be deleted: %s".formatted(path, e), e);
    }
  }
}
