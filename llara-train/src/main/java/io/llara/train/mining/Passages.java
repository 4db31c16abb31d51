package io.llara.train.mining;

import com.google.common.primitives.ImmutableIntArray;
import io.llara.LlaraException;
import io.llara.ProgressListener;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.Document;
import io.llara.retrieval.PassageDigest;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * What a reading of the collection tells: which places have the same text, and where the texts of
 * the pairs are. A text of the pairs is found by its digest, as a passage (title and text) or as
 * the text of a document alone. The texts themselves are not held.
 */
final class Passages {
  private static final int ABSENT = -1;

  private final Corpus corpus;
  private final Corpus.Summary summary;
  private final ImmutableIntArray texts;
  private final int distinct;

  /** By the number of a text of the pairs: the first place that has it. */
  private final int[] places;

  /** The texts of further places: those whose title differs. */
  private final Map<Integer, Set<Integer>> more;

  private Passages(
      Corpus corpus,
      Corpus.Summary summary,
      ImmutableIntArray texts,
      int distinct,
      int[] places,
      Map<Integer, Set<Integer>> more) {
    this.corpus = corpus;
    this.summary = summary;
    this.texts = texts;
    this.distinct = distinct;
    this.places = places;
    this.more = more;
  }

  /**
   * Reads the collection.
   *
   * @param progress told how many documents were read, and how many there are
   * @throws LlaraException if two documents have one id, or there is none with a text
   */
  static Passages read(Corpus corpus, PairTexts pairs, ProgressListener progress) {
    Corpus.Summary summary = corpus.summarizeUnique(document -> {});
    if (summary.documents() == 0) {
      throw new LlaraException(corpus.name() + ": holds no document with a text");
    }
    if (summary.documents() > Integer.MAX_VALUE - 8) {
      throw new LlaraException(
          "%s: holds %d documents; expected at most %d"
              .formatted(corpus.name(), summary.documents(), Integer.MAX_VALUE - 8));
    }
    KeyTable distinct = new KeyTable();
    ImmutableIntArray.Builder texts = ImmutableIntArray.builder((int) summary.documents());
    int[] places = new int[pairs.count()];
    Arrays.fill(places, ABSENT);
    Map<Integer, Set<Integer>> more = new HashMap<>();
    forEach(
        corpus,
        summary,
        (place, document) -> {
          TextKey passage = TextKey.of(document.passage());
          int text = distinct.add(passage);
          texts.add(text);
          note(pairs.find(passage), place, text, places, more);
          if (!document.title().isBlank()) {
            note(pairs.find(TextKey.of(document.text())), place, text, places, more);
          }
          progress.progress(place + 1, summary.documents());
        });
    return new Passages(corpus, summary, texts.build(), distinct.size(), places, more);
  }

  private static void note(
      int known, int place, int text, int[] places, Map<Integer, Set<Integer>> more) {
    if (known == ABSENT) {
      return;
    }
    if (places[known] == ABSENT) {
      places[known] = place;
    } else {
      more.computeIfAbsent(known, key -> new HashSet<>()).add(text);
    }
  }

  /** Takes a document and its place, documents without text not counted. */
  interface Receiver {
    void accept(int place, Document document);
  }

  /** Hands out all documents that have text, in order. */
  void forEach(Receiver receiver) {
    forEach(corpus, summary, receiver);
  }

  private static void forEach(Corpus corpus, Corpus.Summary summary, Receiver receiver) {
    PassageDigest digest = new PassageDigest();
    try (Stream<Document> documents = corpus.documents()) {
      Iterator<Document> iterator = documents.iterator();
      for (int place = 0; iterator.hasNext() && place < summary.documents(); place++) {
        Document document = iterator.next();
        digest.add(document.passage());
        receiver.accept(place, document);
      }
      if (iterator.hasNext() || !digest.value().equals(summary.digest())) {
        throw new LlaraException(corpus.name() + ": changed while it was read");
      }
    }
  }

  /** Returns what messages call the collection. */
  String name() {
    return corpus.name();
  }

  Corpus corpus() {
    return corpus;
  }

  Corpus.Summary summary() {
    return summary;
  }

  /** Returns how many passages there are. */
  int count() {
    return texts.length();
  }

  /** Returns how many passages have the text of an earlier one. */
  int duplicates() {
    return count() - distinct;
  }

  /** Returns the number of the text at a place: the same for passages of the same text. */
  int text(int place) {
    return texts.get(place);
  }

  /** Returns the first place of a text of the pairs, or -1 if it is not in the collection. */
  int place(int known) {
    return places[known];
  }

  /** Adds the numbers of the collection's texts that are a text of the pairs. */
  void addTexts(int known, Set<Integer> numbers) {
    if (places[known] != ABSENT) {
      numbers.add(text(places[known]));
      numbers.addAll(more.getOrDefault(known, Set.of()));
    }
  }
}
