package io.llara.train.mining;

import com.google.common.collect.HashMultimap;
import com.google.common.collect.SetMultimap;
import com.google.common.hash.HashCode;
import io.llara.LlaraException;
import io.llara.ProgressListener;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.DigestTable;
import io.llara.retrieval.Document;
import io.llara.retrieval.TextDigest;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Iterator;
import java.util.Set;
import java.util.function.ObjIntConsumer;
import java.util.stream.Stream;

/**
 * What a reading of the collection finds: which places have the same text, and where the texts of
 * the pairs are. A text of the pairs is found by its digest, as a passage (title and text) or as
 * the text of a document alone. The texts themselves are not kept.
 */
final class Passages {
  private static final int ABSENT = -1;

  private final Corpus corpus;
  private final Corpus.Summary summary;
  private final PairTexts pairs;

  /** Numbers the texts of the collection. */
  private final DigestTable distinct = new DigestTable();

  /** By the place: the number of its text. */
  private final int[] texts;

  /** By the number of a text of the pairs: the first place that has it. */
  private final int[] places;

  /** By the number of a text of the pairs: the texts of further places, whose title differs. */
  private final SetMultimap<Integer, Integer> more = HashMultimap.create();

  /**
   * Reads the collection.
   *
   * @param progress takes how many documents were read, and how many there are
   * @throws LlaraException if two documents have one id, or there is none with a text
   */
  Passages(Corpus corpus, PairTexts pairs, ProgressListener progress) {
    this.corpus = corpus;
    this.pairs = pairs;
    this.summary = corpus.summarizeUnique();
    if (summary.documents() > Integer.MAX_VALUE - 8) {
      throw new LlaraException(
          "%s: holds %d documents; expected at most %d"
              .formatted(corpus.name(), summary.documents(), Integer.MAX_VALUE - 8));
    }
    texts = new int[(int) summary.documents()];
    places = new int[pairs.count()];
    Arrays.fill(places, ABSENT);
    forEach(
        (document, place) -> {
          HashCode passage = PairTexts.key(document.passage());
          texts[place] = distinct.add(passage);
          note(pairs.find(passage), place);
          if (!document.title().isBlank()) {
            note(pairs.find(PairTexts.key(document.text())), place);
          }
          progress.progress(place + 1, summary.documents());
        });
  }

  private void note(int known, int place) {
    if (known == ABSENT) {
      return;
    }
    if (places[known] == ABSENT) {
      places[known] = place;
    } else {
      more.put(known, texts[place]);
    }
  }

  /**
   * Hands out all documents that have text with their places, in order.
   *
   * @throws LlaraException if they are not those of the first reading
   */
  void forEach(ObjIntConsumer<Document> receiver) {
    TextDigest digest = new TextDigest();
    try (Stream<Document> documents = corpus.documents()) {
      Iterator<Document> rest = documents.iterator();
      for (int place = 0; rest.hasNext() && place < summary.documents(); place++) {
        Document document = rest.next();
        digest.add(document.passage());
        receiver.accept(document, place);
      }
      if (rest.hasNext() || !digest.value().equals(summary.digest())) {
        throw new LlaraException(corpus.name() + ": changed while it was read");
      }
    }
  }

  Corpus corpus() {
    return corpus;
  }

  Corpus.Summary summary() {
    return summary;
  }

  /** Returns how many passages there are. */
  int count() {
    return texts.length;
  }

  /** Returns how many passages have the text of an earlier one. */
  int duplicates() {
    return count() - distinct.size();
  }

  /** Returns the number of the text at a place: the same for passages of the same text. */
  int text(int place) {
    return texts[place];
  }

  /** Returns the first place of a text of the pairs, or -1 if it is not in the collection. */
  int placeOf(String text) {
    return places[pairs.find(PairTexts.key(text))];
  }

  /**
   * Returns the numbers of the collection's texts that are one of some texts of the pairs.
   *
   * @param known the numbers of the texts among those of the pairs
   */
  Set<Integer> textsOf(int... known) {
    Set<Integer> numbers = new HashSet<>();
    for (int text : known) {
      if (places[text] != ABSENT) {
        numbers.add(texts[places[text]]);
        numbers.addAll(more.get(text));
      }
    }
    return numbers;
  }
}
