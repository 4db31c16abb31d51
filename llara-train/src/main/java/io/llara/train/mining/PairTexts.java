package io.llara.train.mining;

import com.google.common.base.CharMatcher;
import com.google.common.hash.HashCode;
import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import com.google.common.primitives.Ints;
import io.llara.LlaraException;
import io.llara.retrieval.DigestTable;
import io.llara.train.data.DataStatistics;
import io.llara.train.data.Dataset;
import io.llara.train.data.DatasetReader;
import io.llara.train.data.TrainingPair;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;

/**
 * What a first reading of the pairs finds: their texts as numbers, and which of them are positives
 * of which queries, over all lines. The texts themselves are not kept.
 */
final class PairTexts {
  private static final int[] NONE = {};

  /** The first leaves out the no-break spaces, the second line ends and tabs. */
  private static final CharMatcher SPACES =
      CharMatcher.forPredicate(c -> Character.isWhitespace(c) || Character.isSpaceChar(c));

  private final Dataset<TrainingPair> source;
  private final DigestTable texts = new DigestTable();

  /** By the number of a query; a text that is no query has none. */
  private final List<int[]> positives = new ArrayList<>();

  private DataStatistics statistics = new DataStatistics(0, 0, 0, 0, 0);
  private long queries;
  private String digest = "";

  private PairTexts(Dataset<TrainingPair> source) {
    this.source = source;
  }

  /**
   * Returns a digest that stands for a text: equal for equal texts, and for no others. Runs of
   * white space count as one space, and its ends not.
   */
  static HashCode key(String text) {
    return Hashing.murmur3_128().hashUnencodedChars(SPACES.trimAndCollapseFrom(text, ' '));
  }

  /**
   * Reads the pairs.
   *
   * @param also takes each
   * @throws LlaraException if there is none, or as {@link DatasetReader#hasNext}
   */
  static PairTexts read(Dataset<TrainingPair> source, Consumer<TrainingPair> also) {
    PairTexts read = new PairTexts(source);
    source.requireExamples();
    read.digest =
        read.pass(
            pair -> {
              read.add(pair);
              also.accept(pair);
            });
    return read;
  }

  /**
   * Hands out the pairs once more, in order.
   *
   * @throws LlaraException if they are not those of the first reading
   */
  void forEach(Consumer<TrainingPair> receiver) {
    if (!pass(receiver).equals(digest)) {
      throw new LlaraException(source + ": changed while it was read");
    }
  }

  private String pass(Consumer<TrainingPair> receiver) {
    Hasher hasher = Hashing.murmur3_128().newHasher();
    try (DatasetReader<TrainingPair> pairs = source.open()) {
      while (pairs.hasNext()) {
        TrainingPair pair = pairs.next();
        hasher.putUnencodedChars(pair.query()).putInt(pair.query().length());
        for (List<String> passages : List.of(pair.positives(), pair.negatives())) {
          passages.forEach(text -> hasher.putUnencodedChars(text).putInt(text.length()));
          hasher.putInt(passages.size());
        }
        receiver.accept(pair);
      }
      statistics = pairs.statistics();
    }
    return hasher.hash().toString();
  }

  private void add(TrainingPair pair) {
    int query = number(pair.query());
    int[] known = positives.get(query);
    if (known.length == 0) {
      queries++;
    }
    for (String positive : pair.positives()) {
      int number = number(positive);
      if (!Ints.contains(known, number)) {
        known = Arrays.copyOf(known, known.length + 1);
        known[known.length - 1] = number;
      }
    }
    positives.set(query, known);
    pair.negatives().forEach(this::number);
  }

  private int number(String text) {
    int number = texts.add(key(text));
    if (number == positives.size()) {
      positives.add(NONE);
    }
    return number;
  }

  /** Returns the first files. */
  @Override
  public String toString() {
    return source.toString();
  }

  /** Returns how many distinct texts there are; they have the numbers below that. */
  int count() {
    return texts.size();
  }

  /** Returns the number of a text, or -1 if it does not stand in the pairs. */
  int find(HashCode text) {
    return texts.find(text);
  }

  /** Returns the positives of a query over all lines; both are numbers of texts. */
  int[] positivesOf(int query) {
    return positives.get(query);
  }

  /** Returns how many different queries there are. */
  long queries() {
    return queries;
  }

  /** Returns the statistics of the last reading. */
  DataStatistics statistics() {
    return statistics;
  }
}
